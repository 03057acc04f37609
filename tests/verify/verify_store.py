#!/usr/bin/env python3
"""Verifies a whole store; written from core/docs/image-format.md and core/docs/store-format.md alone.
usage: verify_store.py STORE [--read-data]. One line `FAULT object: message` per fault and exit 1, or a summary and exit 0."""
import base64, collections, functools, json, os, re, signal, struct, sys, zlib
import blake3, zstandard
CHUNK, CHUNKS, RAW, BLOCK, FIELD = 1 << 20, 1 << 14, 4 << 20, 24 + 4 * (1 << 14) + (4 << 20), 32 << 20
REG, LNK, CHR, BLK, DIR, FIFO = KINDS = 0o100000, 0o120000, 0o020000, 0o060000, 0o040000, 0o010000
NUMBER, NAME = re.compile(r"(?!0{16})[0-9]{16}\Z"), re.compile(r"(?!HEAD\Z)[A-Za-z0-9][A-Za-z0-9._-]{0,127}\Z")
SIGNATURE = re.compile(rb"ed25519 ([0-9a-f]{16}) ([A-Za-z0-9+/]{86}==)\Z")
LEB, HEX = re.compile(rb"[\x80-\xff]{0,9}[\0-\x7f]"), re.compile(r"[0-9a-f]{64}\Z")
UUID, TIME = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", r"[0-9]{4}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-6][0-9]Z"
Row = collections.namedtuple("Row", "path kind size content group meta far")
Block = collections.namedtuple("Block", "offset size codec raw crc chunks")
class Bad(Exception): pass
def ck(good, message):
    if not good: raise Bad(message)
def b3(data): return blake3.blake3(data).digest()
def key(path): return path.replace(b"/", b"\0")         # `/` sorts before every other byte
def document(kind, data):
    lines = data.split(b"\n")
    ck(len(lines) >= 4 and lines[0] == b"libcv %s v1" % kind.encode() and not lines[-1], f"not a {kind} of version 1")
    ck(lines[2] == b"blake3 " + b3(b"\n".join(lines[:2]) + b"\n").hex().encode(), f"{kind} was changed: blake3 is wrong")
    signed = [SIGNATURE.match(line) for line in lines[3:-1]]
    ck(all(signed) and len(signed) <= 16, "a line is no signature, or there are more than 16")
    ids = [m[1] for m in signed]; ck(ids == sorted(set(ids)), "signatures are not in the order of their keys, or a key signed twice")
    ck(all(base64.b64encode(base64.b64decode(m[2])) == m[2] for m in signed), "base64 of a signature is not the canonical one")
    return cjson(lines[1])
def show(text):
    return "".join(c if c.isprintable() and c != "\\" else "".join("\\x%02x" % x for x in os.fsencode(c))
                   for c in os.fsdecode(text)[:300])
class Reader:
    def __init__(self, data, magic=None):
        self.b, self.i = data, 0
        if magic: ck(self.take(4) == magic, "bad magic"); ck(self.u(1) == 1, "unsupported version")
    def leb(self, below=1 << 64, least=0):
        m = LEB.match(self.b, self.i)
        n = sum((c & 127) << 7 * k for k, c in enumerate(m.group())) if m else -1
        ck(m and (m.group()[-1] or m.group() == b"\0"), f"number cut off, too long or not the shortest at byte {self.i}")
        ck(least <= n < below, f"number {n} outside {least}..{below - 1} at byte {self.i}")
        self.i = m.end(); return n
    def take(self, n):
        ck(n <= len(self.b) - self.i, f"ends early: {n} bytes wanted at byte {self.i} of {len(self.b)}")
        self.i += n; return self.b[self.i - n:self.i]
    def u(self, n): return int.from_bytes(self.take(n), "little")
    def str(self, most, least=0): return self.take(self.leb(most + 1, least))
    def end(self): ck(self.i == len(self.b), f"{len(self.b) - self.i} bytes left over")
def cjson(data, escaped=False):
    def no(text): raise Bad(f"number {text[:40]} is not an integer")
    text = data.decode("utf-8"); value = json.loads(text, parse_float=no, parse_constant=no)
    canonical = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    ck(isinstance(value, dict) and canonical == text, "not a JSON object in canonical form")
    ck(not escaped or re.fullmatch(r'(?:[^\\\x7f]|\\"|\\\\x[0-9a-fA-F]{2})*', text), "a string has not the form of \\xHH")
    return value
def decompress(codec, payload, raw):
    d, out, size, i = zstandard.ZstdDecompressor().decompressobj(), [], 0, 0
    while codec and not d.eof:              # in small steps: a bomb is seen before it is large
        out.append(d.decompress(payload[i:i + 1024])); size, i = size + len(out[-1]), i + 1024
        ck(size <= raw and (d.eof or i < len(payload)), "zstd frame ends early or is longer than the raw length")
    ck(not codec or size == raw and not d.unused_data and i >= len(payload), "zstd frame is short, or bytes follow it")
    return b"".join(out) if codec else payload
def read_items(r, count):
    for _ in range(count):
        length, hole = divmod(r.leb(least=2), 2)
        ck(hole or length <= CHUNK, "chunk item longer than a chunk")
        yield length, None if hole else r.take(32)
def check_sum(items, size):
    ck(all(a[1] or b[1] for a, b in zip(items, items[1:])), "two holes in a row")
    ck(sum(n for n, _ in items) == size, f"content adds up to {sum(n for n, _ in items)}, size is {size}")
    return sum(n for n, h in items if h)
def parse_content(r):
    n, listed = divmod(r.leb((2 << 26) + 2), 2)
    ck(listed == (n > 512), f"{n} items with the wrong kind of content")
    if listed:
        ck(r.leb() == (n + 16383) // 16384, f"wrong number of lists for {n} items")
        return n, None, [(r.leb(CHUNK + 1, 1), r.take(32)) for _ in range((n + 16383) // 16384)]
    return n, list(read_items(r, n)), []
def parse_set(r):
    start, last, far = r.i, b"", []
    for _ in range(r.leb(1025, 1)):
        name, (length, is_far) = r.str(255, 1), divmod(r.leb(65537 * 2), 2)
        ck(name > last and is_far == (length > 1024), "attributes not strictly ascending, or not far by the rule")
        last, value = name, r.take(32 if is_far else length)
        if is_far: far.append((length, value))
    ck(r.i - start <= 262144, "attribute set too long"); return r.b[start:r.i], far
def parse_row(r, last, mtime, sets):
    before = last or b""; shared, suffix = r.leb(len(before) + 1), r.str(65535)
    path = before[:shared] + suffix; ck(not suffix or suffix[:1] != before[shared:shared + 1], "shared prefix not maximal")
    ck(last is None or key(path) > key(last), "rows not in strictly ascending order")
    parts = path.split(b"/") if path else []; ck(len(path) <= 65535 and len(parts) <= 4096 and b"\0" not in path and
       all(0 < len(p) <= 255 and p not in (b".", b"..") for p in parts), "bad path")
    mode, uid, gid, z = r.leb(65536), r.leb(1 << 32), r.leb(1 << 32), r.leb()
    mtime, nano, flags, kind = (mtime + (z >> 1 ^ -(z & 1))) % (1 << 64), r.leb(10 ** 9), r.leb(16), mode & 0o170000
    ck(kind in KINDS and not (flags & 1 and kind == DIR), f"mode {mode:o} is bad, or not that of a hard link")
    group, attrs, far, content = r.take(16) if flags & 1 else None, None, [], None
    if flags & 2:
        number = r.leb(len(sets) + 1); sets += [parse_set(r)] if number == len(sets) else []
        ck(number < len(sets) - 1 or sets[-1] not in sets[:-1], "attribute set defined twice")
        attrs, far = sets[number]
    inode = r.leb(least=1) if flags & 4 else 0; ck(not inode & ~0x800030, f"inode flags {inode:#x}")
    start, size = r.i, r.leb(1 << 63) if kind == REG else 0
    if kind == REG: content = parse_content(r)
    elif kind == LNK: r.str(4095, 1)
    elif kind in (CHR, BLK): r.leb(1 << 32), r.leb(1 << 32)
    return Row(path, kind, size, content, group, (mode, uid, gid, mtime, nano, flags, attrs, inode, r.b[start:r.i]), far), mtime
def parse_page(data):
    r, rows, sets, last, mtime = Reader(data, b"CVPG"), [], [], None, 0
    for k in range(r.leb(1025, 1)):
        try: row, mtime = parse_row(r, last, mtime, sets)
        except Bad as e: raise Bad(f"row {k} (after '{show(last or b'')}'): {e}")
        rows.append(row); last = row.path
    r.end(); return rows
class Store:
    def __init__(self, root, read_data):
        self.root, self.read_data, self.faults, self.uuid, self.rows = root, read_data, 0, None, 0
        self.packs, self.place, self.trees, self.releases, self.segments, self.missed = {}, {}, {}, {}, {}, 0
        self.indexed, self.live, self.reported, self.unpacked = set(), set(), set(), functools.lru_cache(16)(self.unpack)
    def fault(self, thing, message): self.faults += 1; print(f"FAULT {show(thing)}: {' '.join(str(message).split())}")
    def rule(self, good, thing, message): return good or self.fault(thing, message)
    def attempt(self, thing, work, *args):  # the result, or None after a fault
        try: return work(*args)
        except Exception as e: self.fault(thing, e if isinstance(e, Bad) else f"{type(e).__name__}: {e}")
    def there(self, path): return os.path.lexists(os.path.join(self.root, path))
    def read(self, path, most, name=None):
        at = os.path.join(self.root, path)
        ck(os.path.isfile(at) and os.path.getsize(at) <= most, f"not a regular file of at most {most} bytes")
        with open(at, "rb") as f: data = f.read()
        ck(name is None or b3(data).hex() == name, "name is not the BLAKE3 of the bytes")
        return data
    def ls(self, path, good):
        names = sorted(self.attempt(path, os.listdir, os.path.join(self.root, path)) or []) if self.there(path) else []
        for name in names: self.rule(good(name), os.path.join(path, name), "has no place in a store")
        return list(filter(good, names))
    def check_pack(self, name, path):
        self.packs[name], b = None, self.read(path, 128 << 20)      # None: there, but damaged
        ck(len(b) >= 65 and b[:8] == b"CVPACK01", "bad magic")
        length, crc, zero, h, end = struct.unpack("<QII32s8s", b[-56:])
        ck(end == b"CVPKEND1" and zero == 0 and length <= len(b) - 64, "bad footer")
        at, stop, blocks, r = 8, len(b) - 56 - length, [], Reader(b[-56 - length:-56])
        ck(zlib.crc32(r.b) == crc and b3(r.b) == h and h.hex() == name, "trailer has not the crc, hash or name it should have")
        for _ in range(r.leb(65537)):
            size, codec, raw, crc, n = r.leb(BLOCK + 1), r.u(1), r.leb(RAW + 1), r.u(4), r.leb(CHUNKS + 1, 1)
            blocks.append(Block(at, size, codec, raw, crc, [(r.take(32), r.leb(CHUNK + 1, 1)) for _ in range(n)]))
            ck(size >= 24 + 4 * n and sum(c[1] for c in blocks[-1].chunks) == raw, "lengths of a block do not add up")
            at += size
        r.end(); ck(at == stop, "blocks do not reach to the trailer"); self.packs[name] = path, blocks
        for k, block in enumerate(blocks):
            if f"{name} {block.offset}" in self.bad: continue
            for h, n in block.chunks: self.place.setdefault(h, []).append((n, name, k))
            self.attempt(f"pack {name} block {k}", self.check_block, b[block.offset:block.offset + block.size], block)
    def check_block(self, b, t):
        magic, codec, zero, raw, payload, n, crc = struct.unpack_from("<IB3sIIII", b)
        ck(magic == 0x4B425643 and zero == bytes(3) and
           (codec, raw, n, crc, 24 + 4 * n + payload) == (t.codec, t.raw, len(t.chunks), t.crc, t.size) and
           b[24:24 + 4 * n] == b"".join(struct.pack("<I", c) for _, c in t.chunks), "header differs from the trailer")
        ck(zlib.crc32(b[24:], zlib.crc32(b[:20])) == crc, "crc of the block is wrong")
        ck(codec == 1 or codec == 0 and payload == raw, f"unsupported codec {codec}, or raw payload of another length")
        if not self.read_data: return
        data, at = decompress(codec, b[24 + 4 * n:], raw), 0
        for h, c in t.chunks:
            ck(b3(data[at:at + c]) == h, f"chunk {h.hex()} has other content"); at += c
    def unpack(self, name, k):
        path, t = self.packs[name][0], self.packs[name][1][k]
        with open(os.path.join(self.root, path), "rb") as f:
            f.seek(t.offset + 24 + 4 * len(t.chunks))
            return decompress(t.codec, f.read(t.size - 24 - 4 * len(t.chunks)), t.raw)
    def load(self, h, length):
        why = "is in no pack"
        for _, name, k in (p for p in self.place.get(h, []) if p[0] == length):
            try:                            # any copy is as good as any other
                data, at = self.unpacked(name, k), 0
                for c, n in self.packs[name][1][k].chunks:
                    if c == h == b3(data[at:at + n]): return data[at:at + n]
                    at += n
                why = f"has other content in pack {name} block {k}"
            except (Bad, OSError, zstandard.ZstdError) as e: why = f"cannot be read from pack {name} block {k}: {e}"
        raise Bad(f"chunk {h.hex()} {why}")
    def check_segment(self, name):
        r = Reader(self.read(f"idx/{name}.idx", 1 << 32, name), b"CVIX")
        packs = [r.take(32).hex() for _ in range(r.leb())]
        records = list(struct.iter_unpack("<32sIIII", r.take(r.leb() * 48))); r.end()
        ck(len(set(packs)) == len(packs) and all(x[1] < len(packs) for x in records), "pack listed twice, or not at all")
        ck(all(x[:3] <= y[:3] for x, y in zip(records, records[1:])), "records not in order")
        self.segments[name] = packs, records; self.indexed.update(x[0] for x in records)
    def check_live(self, packs, records):
        self.live.update(x[0] for x in records)
        for pack in packs: ck(pack in self.packs, f"names pack {pack}, which is missing")
        for h, p, off, size, n in records:
            copies = [(c, name, *self.packs[name][1][k][:2]) for c, name, k in self.place.get(h, [])]
            ck(not self.packs[packs[p]] or (n, packs[p], off, size) in copies,
               f"record of chunk {h.hex()} differs from the trailer of pack {packs[p]}")
    def check_current(self):
        names = self.read("idx/CURRENT", FIELD).decode("ascii").split("\n")
        ck(names.pop() == "" and len(set(names)) == len(names) and all(map(HEX.match, names)), "not lines of names")
        for name in names:
            self.rule(self.there(f"idx/{name}.idx"), "idx/CURRENT", f"names segment {name}, which is missing")
            if name in self.segments: self.attempt(f"index segment {name}", self.check_live, *self.segments[name])
    def check_image(self, name):
        r, fields, last, image = Reader(self.read(f"images/{name}.cvm", 64 << 20, name), b"CVMF"), {}, -1, f"image {name}"
        while r.i < len(r.b):
            tag = r.leb(least=last + 1); ck(tag % 2 == 0 or tag in (1, 3), f"unsupported: critical field {tag}")
            fields[tag], last = r.str(FIELD), tag
        ck(1 in fields and 3 in fields and len(fields.get(8, bytes(32))) == 32, "field 1 or 3 is missing, or 8 is no hash")
        self.trees[name] = b3(fields[1]).hex()
        texts = {tag: self.attempt(f"{image} field {tag}", cjson, fields[tag], True) for tag in (4, 6, 10) if tag in fields}
        self.rule(all(k in ("users", "groups") and isinstance(m, dict) and all(re.fullmatch("[0-9]{1,10}", i) and isinstance(s, str)
                  for i, s in m.items()) for k, m in (texts.get(10) or {}).items()), f"{image} field 10", "not a table of names")
        t, p = Reader(fields[3]), Reader(fields[1]); totals = [t.leb() for _ in range(8)]
        pages = [(p.str(65535), p.take(32), p.leb(1025, 1), p.leb(CHUNK + 1, 1)) for _ in range(p.leb((1 << 22) + 1, 1))]
        t.end(), p.end(); self.check_tree(image, pages, totals)
    def need(self, h, length, what):
        self.needed.add(h)
        good = any(p[0] == length for p in self.place.get(h, [])) or (h, length) in self.reported
        if not good: self.reported.add((h, length))
        self.rule(good, f"chunk {h.hex()}", f"is in no pack with length {length}; needed for {what}")
    def file_chunks(self, name, row):
        n, items, lists = row.content[0], row.content[1] or [], row.content[2]
        for k, (length, h) in enumerate(lists):
            self.need(h, length, f"a list of {name}"); r = Reader(self.load(h, length))
            items += read_items(r, min(16384, n - 16384 * k)); r.end()
        for length, h in filter(lambda item: item[1], items): self.need(h, length, name)
        return check_sum(items, row.size)
    def check_tree(self, image, pages, totals):
        self.needed, whole, last, dirs, groups, sums = set(), True, None, set(), {}, [0] * 8
        for first, h, count, length in pages:
            self.need(h, length, f"a page of {image}")
            rows = self.attempt(f"page {h.hex()} of {image}", lambda: parse_page(self.load(h, length)))
            whole = whole and rows is not None
            self.rule(not rows or (rows[0].path, len(rows)) == (first, count), image, f"page {h.hex()} is not as in its table")
            for row in rows or []:
                path, kind, name, new = row.path, row.kind, f"{image} row '{show(row.path)}'", row.group not in groups
                self.rule(last is None or key(path) > key(last), name, "not after the row before")
                self.rule((path or kind == DIR) and (not whole or (last is None) == (path == b"")), name,
                          "root is not the first row, not only that, or not a directory")
                self.rule(not whole or not path or path.rpartition(b"/")[0] in dirs, name, "parent is not a directory here")
                if kind == DIR: dirs.add(path)
                for n, value in row.far: self.need(value, n, f"an attribute of {name}")
                for k in 0, 1 if kind == DIR else 2 if kind == REG else 3 if kind == LNK else 4: sums[k] += 1
                if row.group:
                    self.rule(not new or not whole or row.group == b3(path)[:16], name, "not the first of its hard link group")
                    member = groups.setdefault(row.group, [path, row.meta, 0]); member[2] += 1
                    self.rule(member[1] == row.meta, name, f"differs from '{show(member[0])}' of its hard link group")
                last, chunks = path, self.attempt(name, self.file_chunks, name, row) if kind == REG else 0
                whole = whole and chunks is not None
                if new: sums[6] += row.size; sums[7] += chunks or 0
        sums[5] = len(groups)
        for path, _, n in groups.values(): self.rule(n > 1 or not whole, f"{image} row '{show(path)}'", "alone in its group")
        self.rule(not whole or sums == totals and sums[0] <= 1 << 28, image, f"totals are {totals}, the rows give {sums}")
        self.rule(not self.needed & self.place.keys() - self.indexed, image, "chunks that it needs are in no index segment")
        self.missed, self.rows = self.missed + len(self.needed & self.indexed - self.live), self.rows + sums[0]
    def check_release(self, name, number, removed):
        v = document("release", self.read(f"refs/{name}/{number}", CHUNK))
        ck(list(v) == "created generation image name reason store tree".split(), "other keys than a release has")
        ck((v["name"], repr(v["generation"])) == (name, str(int(number))), "name or generation differs from its place")
        ck(re.fullmatch(TIME, str(v["created"])) and re.fullmatch(UUID, str(v["store"])), "no time, or no store")
        ck(v["reason"] in ("capture", "import", "rollback", "remove"), "unknown reason")
        if v["reason"] == "remove": return ck(v["image"] is None and v["tree"] is None, "a removal with an image")
        ck(all(HEX.match(str(v[k])) for k in ("image", "tree")), "image or tree is not a hash")
        ck(removed or self.there(f"images/{v['image']}.cvm"), f"image {v['image']} is missing")
        ck(self.trees.get(v["image"], v["tree"]) == v["tree"], "tree is not the tree id of the image")
    def check_name(self, name):
        files = self.ls(f"refs/{name}", lambda f: f == "HEAD" or NUMBER.match(f[:-8] if f.endswith(".removed") else f))
        numbers, gone = [f for f in files if NUMBER.match(f)], [f[:-8] for f in files if f.endswith(".removed")]
        for number in numbers: self.attempt(f"release {name}/{number}", self.check_release, name, number, number in gone)
        for number in gone: self.attempt(f"tombstone {name}/{number}", self.read, f"refs/{name}/{number}.removed", 0)
        self.releases[name], every = {int(f) for f in numbers if f not in gone}, sorted({*map(int, numbers), *map(int, gone)})
        ck(every == list(range(1, len(every) + 1)), "generations are not 1, 2, 3 …")
        if "HEAD" not in files and len(every) <= 1: return
        digits, _, check = self.read(f"refs/{name}/HEAD", 64).partition(b" ")
        ck(re.fullmatch(rb"[1-9][0-9]{0,15}", digits) and int(digits) <= len(every), "HEAD is no generation of this name")
        ck(check == b3(name.encode() + b" " + digits).hex()[:8].encode(), "HEAD was changed: its check is wrong")
    def check_tag(self, name, tag):
        numbers = self.ls(f"tags/{name}/{tag}", NUMBER.match)
        ck([int(x) for x in numbers] == list(range(1, len(numbers) + 1)), "numbers of the records are not 1, 2, 3 …")
        for number in numbers:
            v = document("tag", self.read(f"tags/{name}/{tag}/{number}", 1024))
            ck(list(v) == ["generation", "name", "tag"] and (v["name"], v["tag"]) == (name, tag) and
               (number != numbers[-1] or v["generation"] is None or v["generation"] in self.releases.get(name, ())),
               f"record {number} is not one of this tag, or points to a generation that does not exist")
    def check_derived(self, image, name):
        v, (kind, _, params) = document("derived", self.read(f"blobs/{image}/{name}", 4 << 20)), name.partition("-")
        ck(list(v) == "chunks hash image items kind lists losses params size store".split(), "other keys than it has")
        ck((v["image"], v["kind"], v["params"]) == (image, kind, params) and self.uuid in (None, v["store"]), "of another place")
        ck(image in self.trees, "its image is missing"); self.needed, n = set(), v["items"]
        items, whole = [(length, bytes.fromhex(h)) for h, length in v["chunks"]], blake3.blake3()
        ck(bool(v["lists"]) == (n > 512) and not (items and v["lists"]), "chunks stand where they should not")
        for k, (h, length) in enumerate(v["lists"]):
            self.need(bytes.fromhex(h), length, f"a list of {kind}"); r = Reader(self.load(bytes.fromhex(h), length))
            items += read_items(r, min(16384, n - 16384 * k)); r.end()
        ck(len(items) == n and all(h for _, h in items), "another number of chunks, or holes")
        for length, h in items:
            self.need(h, length, f"{kind} of {image}")
            if self.read_data: whole.update(self.load(h, length))
        check_sum(items, v["size"]); ck(not self.read_data or whole.hexdigest() == v["hash"], "the whole has another hash")
    def check_store_json(self):
        text = self.read("store.json", CHUNK); v = cjson(text.removesuffix(b"\n"))
        ck(repr(v.get("format")) == "1" and v.get("writer") == "any" and len(v) == 4, "unsupported format or writer")
        check = str(v["check"]); ck(b3(text.replace(check.encode(), b"", 1)).hex()[:16] == check, "changed: check is wrong")
        ck(re.fullmatch(UUID, str(v.get("store"))), "store is not a uuid"); self.uuid = v["store"]
    def run(self):
        self.attempt("store.json", self.check_store_json)
        self.bad = set(self.read("idx/BAD", FIELD).decode().splitlines()) if self.there("idx/BAD") else set()
        self.ls("", "store.json packs idx images refs tags cache tmp blobs leases trash".split().__contains__)
        for two in self.ls("packs", re.compile(r"[0-9a-f]{2}\Z").match):
            for f in self.ls(f"packs/{two}", lambda f: f.endswith(".pack") and HEX.match(f[:-5]) and f[:2] == two):
                self.attempt(f"pack {f[:-5]}", self.check_pack, f[:-5], f"packs/{two}/{f}")
        for f in self.ls("idx", lambda f: f in ("CURRENT", "BAD") or f.endswith(".idx") and HEX.match(f[:-4])):
            if f.endswith(".idx"): self.attempt(f"index segment {f[:-4]}", self.check_segment, f[:-4])
        images = self.ls("images", lambda f: f.endswith(".cvm") and HEX.match(f[:-4]))
        if images or self.there("idx/CURRENT"): self.attempt("idx/CURRENT", self.check_current)
        for f in images: self.attempt(f"image {f[:-4]}", self.check_image, f[:-4])
        for image in self.ls("blobs", HEX.match):
            for name in self.ls(f"blobs/{image}", re.compile(r"[A-Za-z0-9]+-[A-Za-z0-9._-]+\Z").match):
                self.attempt(f"derived {image}/{name}", self.check_derived, image, name)
        for name in self.ls("refs", NAME.match): self.attempt(f"refs/{name}", self.check_name, name)
        for name in self.ls("tags", NAME.match):
            for tag in self.ls(f"tags/{name}", NAME.match): self.attempt(f"tag {name}/{tag}", self.check_tag, name, tag)
        if not self.faults: print(
            f"ok: store {self.uuid}: {len(self.packs)} packs, {len(self.segments)} index segments, {len(self.place)} chunks,",
            f"{len(self.trees)} images, {self.rows} rows, {sum(map(len, self.releases.values()))} releases" +
            f"; {self.missed} needed chunks outside CURRENT" * bool(self.missed) + "; all data read" * self.read_data)
        return 1 if self.faults else 0
if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace"); signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    args = [a for a in sys.argv[1:] if a != "--read-data"]
    sys.exit(Store(args[0], "--read-data" in sys.argv).run() if len(args) == 1 else __doc__)

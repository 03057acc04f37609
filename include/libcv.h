/*
 * libcv: images, versions and disk layouts for the nodes of a cluster.
 *
 * Made by cbindgen from the sources in ffi/; do not edit.
 *
 * Conventions
 *   Functions return 0, or the negative of a code CV_E_...; cv_last_error() then tells more.
 *   Handles (cv_store, cv_image, ...) are given by functions and freed with cv_X_free, where NULL is fine.
 *     A handle may be used from any thread, one call at a time: a second call at once, a closed handle
 *     and one of another type are CV_E_MISUSE. After a fork, the child may only exec.
 *   Inputs are borrowed for the call. Outputs stand last and are written only on success.
 *   Texts that are given out end with NUL and are freed with cv_string_free.
 *   Texts that are given in end with NUL; they are UTF-8, except for paths, which are the bytes that the
 *     system knows.
 *   Pointers must not be NULL unless it is said that they may; NULL then is CV_E_INVALID.
 *   Structures that may grow begin with their size; zero in any other field is the default.
 *   Callbacks get the pointer `user` back, which may be NULL. They are called from threads of the library.
 */


#ifndef LIBCV_H
#define LIBCV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/**
 * The version of this header.
 */
#define CV_VERSION_MAJOR 0

/**
 * Second part of the version.
 */
#define CV_VERSION_MINOR 1

/**
 * Third part of the version.
 */
#define CV_VERSION_PATCH 0

/**
 * Success.
 */
#define CV_OK 0

/**
 * Unclassified failure; an unknown code is one, too.
 */
#define CV_E_FAILED 1

/**
 * A bad argument or document.
 */
#define CV_E_INVALID 2

/**
 * Something named does not exist; the hint gives the nearest names.
 */
#define CV_E_NOT_FOUND 10

/**
 * The version changed meanwhile, or an identity exists twice.
 */
#define CV_E_CONFLICT 11

/**
 * Somebody else holds it.
 */
#define CV_E_BUSY 12

/**
 * Not allowed: not armed, a used token, missing privilege.
 */
#define CV_E_DENIED 13

/**
 * A digest does not fit, or a file is truncated or cannot be parsed.
 */
#define CV_E_INTEGRITY 14

/**
 * Input breaks a rule that protects the machine.
 */
#define CV_E_UNSAFE_INPUT 15

/**
 * A safety guard said no; the hint says how to confirm.
 */
#define CV_E_REFUSED 16

/**
 * Space, quota, or a size or count over a limit.
 */
#define CV_E_LIMIT 17

/**
 * The network or the peer failed.
 */
#define CV_E_NETWORK 18

/**
 * Some nodes failed.
 */
#define CV_E_PARTIAL 19

/**
 * Metadata that was rolled back or has expired.
 */
#define CV_E_STALE 20

/**
 * Needs a version, tool, kernel or filesystem feature that is not here.
 */
#define CV_E_UNSUPPORTED 21

/**
 * A plugin failed.
 */
#define CV_E_PLUGIN 22

/**
 * The operating system returned an error.
 */
#define CV_E_IO 23

/**
 * The work was cancelled.
 */
#define CV_E_CANCELLED 24

/**
 * A closed or wrong handle, or a second call at once.
 */
#define CV_E_MISUSE 25

/**
 * Waited too long.
 */
#define CV_E_TIMEOUT 26

/**
 * A panic was caught: a bug of libcv.
 */
#define CV_E_BUG 70

/**
 * In `cv_capture_options.expect_parent`: the name must be new.
 */
#define CV_EXPECT_NEW -1

/**
 * In `cv_tar_export_options.compression`: zstd.
 */
#define CV_TAR_ZSTD 0

/**
 * In `cv_tar_export_options.compression`: gzip.
 */
#define CV_TAR_GZIP 1

/**
 * In `cv_tar_export_options.compression`: none.
 */
#define CV_TAR_PLAIN 2

/**
 * In `cv_export_options.compression` and `cv_derive_options.compression`: what is usual for the format.
 */
#define CV_COMPRESSION_USUAL 0

/**
 * In `cv_export_options.compression` and `cv_derive_options.compression`: zstd.
 */
#define CV_COMPRESSION_ZSTD 1

/**
 * In `cv_export_options.compression` and `cv_derive_options.compression`: gzip.
 */
#define CV_COMPRESSION_GZIP 2

/**
 * In `cv_export_options.compression` and `cv_derive_options.compression`: none.
 */
#define CV_COMPRESSION_NONE 3

/**
 * In `cv_apply_options.backend`: the kernel of this machine, with mdadm, LVM and cryptsetup.
 */
#define CV_BACKEND_KERNEL 0

/**
 * In `cv_apply_options.backend`: libcv itself, in image files; without an image it needs no root.
 */
#define CV_BACKEND_OFFLINE 1

/**
 * An image of a store.
 */
typedef struct cv_image cv_image;

/**
 * Work that runs. Unlike other handles it may be polled and cancelled while another call waits for it.
 */
typedef struct cv_job cv_job;

/**
 * A layout document that is right in itself.
 */
typedef struct cv_layout cv_layout;

/**
 * A plan. Making one writes nothing.
 */
typedef struct cv_plan cv_plan;

/**
 * A role that is right in itself, with all that it extends.
 */
typedef struct cv_role cv_role;

/**
 * A server that runs.
 */
typedef struct cv_server cv_server;

/**
 * A store of images.
 */
typedef struct cv_store cv_store;

/**
 * What went wrong. It belongs to the library; later versions may add fields at the end.
 */
typedef struct {
    /**
     * Size of this structure in the version of the library that runs.
     */
    uint32_t size;
    /**
     * The code, positive: one of `CV_E_…`.
     */
    int32_t code;
    /**
     * Its name, such as "NotFound".
     */
    const char *name;
    /**
     * One sentence that a person can act on.
     */
    const char *message;
    /**
     * What to do about it; NULL when there is nothing to say.
     */
    const char *hint;
    /**
     * All of it as a JSON object: code, kind, message, hint, detail (the facts), causes.
     */
    const char *json;
} cv_error;

/**
 * Called with each event, a JSON object of the shape `cv.event/v1`, which is valid during the call.
 *
 * It is called from the threads that do the work, one event at a time, and must not block, throw or jump out.
 * Returning anything but 0 cancels the work, whose function then returns `-CV_E_CANCELLED`.
 */
typedef int32_t (*cv_event_fn)(const char *event_json, void *user);

/**
 * How to collect. Zeros are the defaults: `cv_gc_options o = {0}; o.size = sizeof o;`
 */
typedef struct {
    /**
     * `sizeof(cv_gc_options)`.
     */
    uint32_t size;
    /**
     * Threads; 0 is one for each core.
     */
    uint32_t threads;
    /**
     * Keep so many of the newest generations of each name, and those with a tag; 0 keeps all.
     */
    uint64_t keep_last;
    /**
     * What nobody needs is deleted so many seconds after it was found to be so; 0 is seven days.
     */
    uint64_t grace_s;
    /**
     * Not 0: only say what would be done.
     */
    uint8_t dry_run;
    /**
     * Not 0: the grace is none at all, whatever `grace_s` says.
     */
    uint8_t no_grace;
    /**
     * Zero.
     */
    uint8_t reserved[6];
} cv_gc_options;

/**
 * How a store behind web servers is reached. Zeros are the defaults, and what is NULL is taken from the environment:
 * `cv_http_options o = {0}; o.size = sizeof o;`
 */
typedef struct {
    /**
     * `sizeof(cv_http_options)`.
     */
    uint32_t size;
    /**
     * Other servers with the same store, each `URL` or `URL=WEIGHT`; none of them is trusted.
     */
    const char *const *mirrors;
    /**
     * How many.
     */
    size_t mirror_count;
    /**
     * PEM file of the authorities that servers are believed by, and no others; NULL: those of the system.
     */
    const char *ca;
    /**
     * PEM file of the certificate that this client shows, or NULL.
     */
    const char *client_cert;
    /**
     * PEM file of its key.
     */
    const char *client_key;
    /**
     * `http://HOST:PORT` that everything goes through, or NULL.
     */
    const char *proxy;
    /**
     * Secret of a token that the server gave, or NULL. With one, captures into the store are sent there.
     */
    const char *token;
} cv_http_options;

/**
 * How a store is served. Zeros are the defaults: `cv_server_options o = {0}; o.size = sizeof o;`
 */
typedef struct {
    /**
     * `sizeof(cv_server_options)`.
     */
    uint32_t size;
    /**
     * PEM file of the certificate; NULL: plain HTTP.
     */
    const char *tls_cert;
    /**
     * PEM file of its key.
     */
    const char *tls_key;
    /**
     * PEM file of authorities: only clients with a certificate of one of them are served; or NULL.
     */
    const char *client_ca;
    /**
     * Called with each answer, a JSON object, from the threads of the server, until it has ended; or NULL. What it returns does
     * not matter.
     */
    cv_event_fn on_access;
    /**
     * Its second argument.
     */
    void *user;
} cv_server_options;

/**
 * How to capture. Zeros are the defaults: `cv_capture_options o = {0}; o.size = sizeof o;`
 */
typedef struct {
    /**
     * `sizeof(cv_capture_options)`.
     */
    uint32_t size;
    /**
     * zstd level, 1 to 19; 0 is 3.
     */
    int32_t level;
    /**
     * Leave these out: patterns as in .gitignore, from the root of the tree.
     */
    const char *const *exclude;
    /**
     * How many patterns.
     */
    size_t exclude_count;
    /**
     * Take these although a rule would leave them out or generalise them.
     */
    const char *const *keep;
    /**
     * How many patterns.
     */
    size_t keep_count;
    /**
     * Tag for the new generation, or NULL.
     */
    const char *tag;
    /**
     * Where this host keeps the key of its stat cache; NULL is the usual place.
     */
    const char *state;
    /**
     * Threads; 0 is one for each core.
     */
    uint32_t threads;
    /**
     * Not 0: generalise nothing, leave nothing out.
     */
    uint8_t exact;
    /**
     * Not 0: a file that changes while it is read is an error.
     */
    uint8_t strict;
    /**
     * Not 0: read every file, whatever the last capture saw.
     */
    uint8_t paranoid;
    /**
     * Zero.
     */
    uint8_t reserved;
    /**
     * Fail with `CV_E_CONFLICT` unless this is the newest generation; 0: whichever, `CV_EXPECT_NEW`: none yet.
     */
    int64_t expect_parent;
    /**
     * Secrets in these files are wanted: patterns as in .gitignore.
     */
    const char *const *allow_secrets;
    /**
     * How many patterns.
     */
    size_t allow_secrets_count;
    /**
     * Write what was done into this file: the result, with every entry that was left out or generalised and every
     * secret, also when they are refused. Or NULL.
     */
    const char *report;
    /**
     * Not 0: publish nothing when a secret is found that is not wanted.
     */
    uint8_t forbid_secrets;
    /**
     * Zeros.
     */
    uint8_t reserved_too[7];
    /**
     * A layout document that goes with the image, such as the `document` of `cv_layout_capture`; or NULL.
     */
    const char *layout;
} cv_capture_options;

/**
 * How to extract. Zeros are the defaults: `cv_extract_options o = {0}; o.size = sizeof o;`
 */
typedef struct {
    /**
     * `sizeof(cv_extract_options)`.
     */
    uint32_t size;
    /**
     * Threads; 0 is one for each core.
     */
    uint32_t threads;
    /**
     * Not 0: read everything back from the medium and compare.
     */
    uint8_t verify;
    /**
     * Not 0: go on although the filesystem cannot hold everything; what is lost is listed.
     */
    uint8_t accept_loss;
    /**
     * Not 0: do not wait until everything is on the medium; a power cut soon after may leave files without content.
     */
    uint8_t no_sync;
    /**
     * Zeros.
     */
    uint8_t reserved[5];
} cv_extract_options;

/**
 * How to update. Zeros are the defaults: `cv_update_options o = {0}; o.size = sizeof o;`
 */
typedef struct {
    /**
     * `sizeof(cv_update_options)`.
     */
    uint32_t size;
    /**
     * Threads; 0 is one for each core.
     */
    uint32_t threads;
    /**
     * Neither overwrite nor delete these: patterns as in .gitignore, from the root of the tree.
     */
    const char *const *protect;
    /**
     * How many patterns.
     */
    size_t protect_count;
    /**
     * Not 0: what no image brought is deleted, but for what is the node's own.
     */
    uint8_t delete_local;
    /**
     * Not 0: write nothing, say what would be done.
     */
    uint8_t dry_run;
    /**
     * Not 0: compare the content of every file, whatever size and time say.
     */
    uint8_t paranoid;
    /**
     * Not 0: nothing is the node's own but what `protect` names.
     */
    uint8_t exact;
    /**
     * Not 0: read everything back from the medium and compare.
     */
    uint8_t verify;
    /**
     * Not 0: go on although the filesystem cannot hold everything; what is lost is listed.
     */
    uint8_t accept_loss;
    /**
     * Not 0: do not wait until everything is on the medium; a power cut soon after may leave files without content.
     */
    uint8_t no_sync;
    /**
     * Zero.
     */
    uint8_t reserved;
} cv_update_options;

/**
 * How an image is sent to many. Zeros are the defaults: `cv_mcast_send_options o = {0}; o.size = sizeof o;`
 */
typedef struct {
    /**
     * `sizeof(cv_mcast_send_options)`.
     */
    uint32_t size;
    /**
     * Begin when so many nodes are there; 0 when nobody knows how many will come.
     */
    uint32_t receivers;
    /**
     * After so many milliseconds since the first node it begins with fewer; 0 is ten seconds.
     */
    uint64_t wait_ms;
    /**
     * The group that the session is announced to, `ADDR:PORT`; NULL: 239.192.67.86:7786.
     */
    const char *group;
    /**
     * `auto`, or bits in a second, such as `940Mbit`; NULL is `auto`.
     */
    const char *rate;
    /**
     * How datagrams are protected: `crc`, `tag` (nobody without the key can add any), `aead` (nor read them); NULL is `crc`.
     */
    const char *mode;
    /**
     * File with the key of `tag` and `aead`, 32 bytes or 64 hex digits; or NULL.
     */
    const char *key_file;
} cv_mcast_send_options;

/**
 * How an image is received. Zeros are the defaults: `cv_mcast_recv_options o = {0}; o.size = sizeof o;`
 */
typedef struct {
    /**
     * `sizeof(cv_mcast_recv_options)`.
     */
    uint32_t size;
    /**
     * Not 0: read everything back from the medium and compare.
     */
    uint8_t verify;
    /**
     * Not 0: do not wait until everything is on the medium; a power cut soon after may leave files without content.
     */
    uint8_t no_sync;
    /**
     * Not 0: the tree that is there is updated to the image, and only what it lacks is received.
     */
    uint8_t update;
    /**
     * Zero.
     */
    uint8_t reserved;
    /**
     * The group that sessions are announced to, `ADDR:PORT`; NULL: 239.192.67.86:7786.
     */
    const char *group;
    /**
     * File with the key that the sender has, 32 bytes or 64 hex digits: nothing is taken that is not made with it. NULL: only what is
     * sent without a key is taken.
     */
    const char *key_file;
    /**
     * The name of the image; NULL: the first one that is announced.
     */
    const char *name;
    /**
     * Files with public keys: take only what one of them signed.
     */
    const char *const *keys;
    /**
     * How many.
     */
    size_t key_count;
    /**
     * With keys: a directory where the highest generation that was believed is kept in mind, so that an older one is refused later; or NULL.
     */
    const char *state;
} cv_mcast_recv_options;

/**
 * What both ends have to say. Zeros are the defaults: `cv_doctor_mcast_options o = {0}; o.size = sizeof o;`
 */
typedef struct {
    /**
     * `sizeof(cv_doctor_mcast_options)`.
     */
    uint32_t size;
    /**
     * To send: begin when so many are there, fewer are a finding; 0 when nobody knows how many will come, and to receive.
     */
    uint32_t receivers;
    /**
     * How many milliseconds the other end is waited for, an hour at most; 0 is ten seconds. Who receives listens at least so long for an IGMP
     * querier, which takes 130 seconds to be sure.
     */
    uint64_t time_ms;
    /**
     * The group that sessions are announced to, `ADDR:PORT`; NULL: 239.192.67.86:7786.
     */
    const char *group;
} cv_doctor_mcast_options;

/**
 * How to import an archive, or what `cv_store_import` reads. Zeros are the defaults: `cv_tar_import_options o = {0}; o.size = sizeof o;`
 */
typedef struct {
    /**
     * `sizeof(cv_tar_import_options)`.
     */
    uint32_t size;
    /**
     * zstd level in the store, 1 to 19; 0 is 3.
     */
    int32_t level;
    /**
     * Threads; 0 is one for each core.
     */
    uint32_t threads;
    /**
     * Not 0: keep attributes that are bound to a machine, too.
     */
    uint8_t exact;
    /**
     * Zeros.
     */
    uint8_t reserved[3];
    /**
     * Tag for the new generation, or NULL.
     */
    const char *tag;
    /**
     * Fail with `CV_E_CONFLICT` unless this is the newest generation; 0: whichever, `CV_EXPECT_NEW`: none yet.
     */
    int64_t expect_parent;
    /**
     * Most entries; 0 is 2^24.
     */
    uint64_t max_entries;
    /**
     * Most bytes of names, targets and attributes in all; 0 is 4 GiB.
     */
    uint64_t max_metadata;
    /**
     * Most bytes of data in all; 0 is 16 TiB.
     */
    uint64_t max_data;
    /**
     * Secrets in these files are wanted: patterns as in .gitignore.
     */
    const char *const *allow_secrets;
    /**
     * How many patterns.
     */
    size_t allow_secrets_count;
    /**
     * Not 0: publish nothing when a secret is found that is not wanted.
     */
    uint8_t forbid_secrets;
    /**
     * Zeros.
     */
    uint8_t reserved_too[7];
    /**
     * Of an OCI layout with several images: the name of one, or NULL.
     */
    const char *reference;
    /**
     * Of an OCI layout for several machines: which, such as `linux/arm64`; NULL is this one.
     */
    const char *platform;
    /**
     * Write what was done into this file: the result, with every secret, also when they are refused. Or NULL.
     */
    const char *report;
} cv_tar_import_options;

/**
 * How to export an archive. Zeros are the defaults: `cv_tar_export_options o = {0}; o.size = sizeof o;`
 */
typedef struct {
    /**
     * `sizeof(cv_tar_export_options)`.
     */
    uint32_t size;
    /**
     * One of `CV_TAR_…`.
     */
    uint32_t compression;
    /**
     * Level of the compression; 0 is the usual one.
     */
    int32_t level;
} cv_tar_export_options;

/**
 * How to export. Zeros are the defaults: `cv_export_options o = {0}; o.size = sizeof o;`
 */
typedef struct {
    /**
     * `sizeof(cv_export_options)`.
     */
    uint32_t size;
    /**
     * One of `CV_COMPRESSION_…`; usual is, for tar and cpio, as the path ends (`.zst`, `.gz`), for OCI and squashfs zstd.
     */
    uint32_t compression;
    /**
     * Level of the compression; 0 is the usual one.
     */
    int32_t level;
    /**
     * Not 0: `created` counts.
     */
    uint32_t has_created;
    /**
     * Of OCI: when the image was made, in seconds since the epoch; else the newest time of the tree.
     */
    int64_t created;
    /**
     * Of OCI: the name of the image in the layout; NULL is the name through which it was opened.
     */
    const char *reference;
} cv_export_options;

/**
 * How to derive. Zeros are the defaults: `cv_derive_options o = {0}; o.size = sizeof o;`
 */
typedef struct {
    /**
     * `sizeof(cv_derive_options)`.
     */
    uint32_t size;
    /**
     * One of `CV_COMPRESSION_…`; usual is zstd, and none for erofs.
     */
    uint32_t compression;
    /**
     * Threads; 0 is one for each core.
     */
    uint32_t threads;
    /**
     * Zero.
     */
    uint32_t reserved;
    /**
     * Where a squashfs is made before it goes into the store; NULL is `TMPDIR`, else `/var/tmp`.
     */
    const char *work;
} cv_derive_options;

/**
 * How to capture a layout. Zeros are the defaults: `cv_layout_capture_options o = {0}; o.size = sizeof o;`
 */
typedef struct {
    /**
     * `sizeof(cv_layout_capture_options)`.
     */
    uint32_t size;
    /**
     * Not 0: match these very disks, by serial number or world wide name.
     */
    uint8_t pin;
    /**
     * Not 0: keep the UUIDs of partitions and filesystems.
     */
    uint8_t keep_uuids;
    /**
     * Zeros.
     */
    uint8_t reserved[2];
    /**
     * The root of the system whose fstab, crypttab and command line are read. NULL: `/`, or none where disks are named.
     */
    const char *root;
    /**
     * The name of the layout; NULL: that of the machine.
     */
    const char *name;
} cv_layout_capture_options;

/**
 * What a plan is told besides the disks. Zeros are the defaults: `cv_plan_options o = {0}; o.size = sizeof o;`
 */
typedef struct {
    /**
     * `sizeof(cv_plan_options)`.
     */
    uint32_t size;
    /**
     * The sector size that image files get, in bytes; the layout's own goes first.
     */
    uint32_t sector;
    /**
     * The name of the node, or NULL.
     */
    const char *hostname;
    /**
     * 16 bytes that identities come from, or NULL: they then come from layout, disks, host name and this boot.
     */
    const uint8_t *seed;
    /**
     * The image that the disks are for, or NULL; what it says about itself is looked at.
     */
    const cv_image *image;
    /**
     * The journal of an interrupted apply that the plan is to go on with, or NULL: identities come from its seed.
     */
    const char *resume;
    /**
     * The disks of another machine as JSON, shape `cv.inventory/v1`, or NULL: those of this one. With it no disk is opened,
     * paths are those of that machine, and the plan cannot be applied: its token confirms the same plan made there.
     */
    const char *inventory_json;
} cv_plan_options;

/**
 * A secret that a document names as `ref:NAME`.
 */
typedef struct {
    /**
     * The name.
     */
    const char *name;
    /**
     * The secret: any bytes.
     */
    const uint8_t *bytes;
    /**
     * How many bytes it has.
     */
    size_t length;
} cv_secret;

/**
 * What is put on the disks. Zeros are the defaults: `cv_apply_options o = {0}; o.size = sizeof o;`
 */
typedef struct {
    /**
     * `sizeof(cv_apply_options)`.
     */
    uint32_t size;
    /**
     * Not 0: compare every byte with the medium after it was written.
     */
    uint8_t verify;
    /**
     * Who makes the devices: one of `CV_BACKEND_…`.
     */
    uint8_t backend;
    /**
     * Not 0: go on with the interrupted apply of `journal`. The plan was made with `cv_plan_options.resume`.
     */
    uint8_t resume;
    /**
     * Zero.
     */
    uint8_t reserved;
    /**
     * The image, or NULL: the disks are then partitioned and formatted only.
     */
    const cv_image *image;
    /**
     * The host name, or NULL: that of the image.
     */
    const char *hostname;
    /**
     * Further actions on the root as for `cv_config_apply`, or NULL.
     */
    const char *actions_json;
    /**
     * What opens the encrypted devices of the layout, or NULL.
     */
    const cv_secret *secrets;
    /**
     * How many there are.
     */
    size_t secret_count;
    /**
     * The file in which each step is noted before and after it is done, or NULL: none is written.
     */
    const char *journal;
    /**
     * The TPM for encrypted devices that one opens, as systemd-cryptenroll takes it, or NULL: that of this machine.
     */
    const char *tpm2_device;
    /**
     * In place of `image`: take it from this network interface, where `cv_mcast_send` sends it to many nodes at once, or NULL. A plan that
     * was made for an image takes no other one.
     */
    const char *multicast;
    /**
     * With `multicast`: which image, and whose, or NULL. Its `verify`, `no_sync` and `update` are 0.
     */
    const cv_mcast_recv_options *multicast_options;
    /**
     * With `multicast`: where the rest is read that it does not bring, as of `cv_mcast_recv`, or NULL.
     */
    const cv_http_options *mirrors;
} cv_apply_options;

/**
 * How a distribution is added. Zeros are the defaults: `cv_distro_options o = {0}; o.size = sizeof o;`
 */
typedef struct {
    /**
     * `sizeof(cv_distro_options)`.
     */
    uint32_t size;
    /**
     * Threads; 0 is one for each core.
     */
    uint32_t threads;
    /**
     * Its name in the store; NULL: what it calls itself, such as `rocky-9.4`.
     */
    const char *name;
    /**
     * Files with keys that its packages have to be signed with, in place of those that lie in it.
     */
    const char *const *keys;
    /**
     * How many files.
     */
    size_t key_count;
    /**
     * Of a mirror: the components that are taken; NULL is `main`.
     */
    const char *const *components;
    /**
     * How many components.
     */
    size_t component_count;
    /**
     * The SHA-256 that a medium has to have, 64 hex digits; NULL: its own checksum is looked at, if it carries one.
     */
    const char *sha256;
} cv_distro_options;

/**
 * How an image is made. Zeros are the defaults: `cv_build_options o = {0}; o.size = sizeof o;`
 */
typedef struct {
    /**
     * `sizeof(cv_build_options)`.
     */
    uint32_t size;
    /**
     * zstd level, 1 to 19; 0 is 3.
     */
    int32_t level;
    /**
     * Tag for the new generation, or NULL.
     */
    const char *tag;
    /**
     * Where the new root lies while it is made; NULL: in the store, or `/var/tmp`.
     */
    const char *work;
    /**
     * Variables for whatever runs, as `NAME=VALUE`.
     */
    const char *const *environment;
    /**
     * How many variables.
     */
    size_t environment_count;
    /**
     * Each run of the package manager, or the program, is killed after so many milliseconds; 0 is two hours.
     */
    uint64_t time_limit_ms;
    /**
     * It is killed when it has said nothing for so many milliseconds; 0 is half an hour.
     */
    uint64_t silence_ms;
    /**
     * Fail with `CV_E_CONFLICT` unless this is the newest generation; 0: whichever, `CV_EXPECT_NEW`: none yet.
     */
    int64_t expect_parent;
    /**
     * Secrets in these files are wanted: patterns as in .gitignore.
     */
    const char *const *allow_secrets;
    /**
     * How many patterns.
     */
    size_t allow_secrets_count;
    /**
     * Threads; 0 is one for each core.
     */
    uint32_t threads;
    /**
     * Not 0: publish nothing when a secret is found that is not wanted.
     */
    uint8_t forbid_secrets;
    /**
     * Not 0: say what would be installed, and make nothing.
     */
    uint8_t dry_run;
    /**
     * Not 0: make the tree once more and name the paths that differ.
     */
    uint8_t check_reproducible;
    /**
     * Not 0: the program of `cv_build_edit` sees the network.
     */
    uint8_t net;
} cv_build_options;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * The version of the library, such as "0.1.0".
 */
const char *cv_version(void);

/**
 * What the last failing call of this thread said; NULL when none has failed. It is valid until the next call of this
 * thread that fails.
 */
const cv_error *cv_last_error(void);

/**
 * The name of a code, which may be positive or as a function returned it; "Failed" for an unknown one. It is static.
 */
const char *cv_error_name(int32_t code);

/**
 * Frees a text that a function gave. NULL is fine.
 */
void cv_string_free(char *text);

/**
 * Frees a job. One that still runs is cancelled and waited for. NULL is fine.
 */
int32_t cv_job_free(cv_job *job);

/**
 * The id of the job, as its events carry it.
 */
int32_t cv_job_id(const cv_job *job, char **id);

/**
 * Whether the work has ended, however it did. May be called while another call waits.
 */
int32_t cv_job_poll(const cv_job *job, bool *finished);

/**
 * Waits until the work has ended, however it did: 0, or `-CV_E_TIMEOUT` after `timeout_ms` milliseconds. A negative
 * time is for ever.
 */
int32_t cv_job_wait(const cv_job *job,
                    int64_t timeout_ms);

/**
 * Asks the work to end; its result is then `-CV_E_CANCELLED`, unless it was faster. May be called while another call
 * waits.
 */
int32_t cv_job_cancel(const cv_job *job);

/**
 * The next event as a JSON object of the shape `cv.event/v1`, waited for up to `timeout_ms` milliseconds (negative:
 * for ever). NULL is given when there was none in time, or none will come any more: that is so when `cv_job_poll` had said
 * that the work has ended, and always after waiting for ever.
 */
int32_t cv_job_next_event(const cv_job *job,
                          int64_t timeout_ms,
                          char **event_json);

/**
 * What the result looks like so far, as JSON, of work that says so: `cv_mcast_send_start` does, once a second. NULL is given before that,
 * and of other work. What was said last stays when the work has ended, however it did. May be called while another call waits.
 */
int32_t cv_job_report(const cv_job *job,
                      char **report_json);

/**
 * Waits for the end and gives the result as JSON, or the error of the work. The result can be had once.
 */
int32_t cv_job_result(const cv_job *job, char **result_json);

/**
 * Makes a store in a directory, which is made as well and must be empty, or at `s3://BUCKET/PREFIX`. A library that was
 * built without S3 answers with CV_E_UNSUPPORTED there.
 */
int32_t cv_store_init(const char *place,
                      cv_store **store);

/**
 * Opens the store in a directory, at `s3://BUCKET/PREFIX`, or at `https://HOST/PATH`, where it can only be read.
 */
int32_t cv_store_open(const char *place,
                      cv_store **store);

/**
 * Closes a store. Its images and jobs stay usable. NULL is fine.
 */
int32_t cv_store_free(cv_store *store);

/**
 * The uuid of a store.
 */
int32_t cv_store_uuid(const cv_store *store, char **uuid);

/**
 * The names that have an image: a JSON array of `{name, generation, image, tree, created, tags}`, `tags` being an array of
 * `{tag, generation}`.
 */
int32_t cv_store_images(const cv_store *store,
                        char **images_json);

/**
 * The generations of a name, newest first: a JSON array of `{name, generation, image, tree, created, reason, store, tags}`.
 */
int32_t cv_store_log(const cv_store *store,
                     const char *name,
                     char **releases_json);

/**
 * Opens the image that a reference means: `name`, `name:tag`, `name@GENERATION` or the first digits of an image id.
 */
int32_t cv_store_image(const cv_store *store,
                       const char *reference,
                       cv_image **image);

/**
 * Points `tag` of `name` to the image of `reference`, which must be one of its generations.
 */
int32_t cv_store_tag(const cv_store *store, const char *reference, const char *name, const char *tag);

/**
 * Makes a new generation of `name` that points to the image of `reference`, and gives it as JSON.
 */
int32_t cv_store_rollback(const cv_store *store,
                          const char *name,
                          const char *reference,
                          char **release_json);

/**
 * Removes what a reference names: a tag, one generation, or a whole name.
 */
int32_t cv_store_remove(const cv_store *store, const char *reference);

/**
 * What changed from image `before` to image `after`: a JSON array of `{path, kind, fields}` in path order, where `kind` is
 * added, removed or changed. `on_event` may be NULL.
 */
int32_t cv_store_diff(const cv_store *store,
                      const cv_image *before,
                      const cv_image *after,
                      cv_event_fn on_event,
                      void *user,
                      char **changes_json);

/**
 * Starts what `cv_store_diff` does; the result is the same array.
 */
int32_t cv_store_diff_start(const cv_store *store,
                            const cv_image *before,
                            const cv_image *after,
                            cv_job **job);

/**
 * Checks a store, with `read_data` every block of it as well. Faults are in the report, a JSON object whose array
 * `faults` is empty when all is well. `on_event` may be NULL.
 */
int32_t cv_store_check(const cv_store *store,
                       bool read_data,
                       cv_event_fn on_event,
                       void *user,
                       char **report_json);

/**
 * Starts what `cv_store_check` does; the result is the report.
 */
int32_t cv_store_check_start(const cv_store *store, bool read_data, cv_job **job);

/**
 * Finds what no image needs, and deletes what was found to be so long enough ago. The result is a JSON object
 * `{images, removed, deleted, deleted_bytes, found, found_bytes, waiting, …}`. `options` and `on_event` may be NULL.
 */
int32_t cv_store_gc(const cv_store *store,
                    const cv_gc_options *options,
                    cv_event_fn on_event,
                    void *user,
                    char **collected_json);

/**
 * Starts what `cv_store_gc` does; the result is the same object.
 */
int32_t cv_store_gc_start(const cv_store *store, const cv_gc_options *options, cv_job **job);

/**
 * Brings what the store `to` lacks of `count` names, or of all when there are none, into it. The result is a JSON object
 * `{names, generations, images, chunks, read_bytes, stored_bytes, tags}`. `names` may be NULL when `count` is 0;
 * `on_event` may be NULL.
 */
int32_t cv_store_sync(const cv_store *store,
                      const cv_store *to,
                      const char *const *names,
                      size_t count,
                      cv_event_fn on_event,
                      void *user,
                      char **synced_json);

/**
 * Starts what `cv_store_sync` does; the result is the same object.
 */
int32_t cv_store_sync_start(const cv_store *store,
                            const cv_store *to,
                            const char *const *names,
                            size_t count,
                            cv_job **job);

/**
 * Makes a directory an exact copy of a store, object by object: an empty one, one that does not exist, or one that is its copy already. The
 * result is a JSON object `{objects, packs, bytes, removed}`. `on_event` may be NULL.
 */
int32_t cv_store_mirror(const cv_store *store,
                        const char *directory,
                        cv_event_fn on_event,
                        void *user,
                        char **pulled_json);

/**
 * Starts what `cv_store_mirror` does; the result is the same object.
 */
int32_t cv_store_mirror_start(const cv_store *store, const char *directory, cv_job **job);

/**
 * Opens a store to repair it, even if `store.json` is damaged or lost.
 */
int32_t cv_store_open_to_repair(const char *directory, cv_store **store);

/**
 * Heals what is damaged or lost in a store from the store `from`. The result is a JSON object `{found, healed,
 * removed, chunks, stored_bytes, faults}`, whose array `faults` says what is left. `on_event` may be NULL.
 */
int32_t cv_store_repair(const cv_store *store,
                        const cv_store *from,
                        cv_event_fn on_event,
                        void *user,
                        char **repaired_json);

/**
 * Starts what `cv_store_repair` does; the result is the same object.
 */
int32_t cv_store_repair_start(const cv_store *store, const cv_store *from, cv_job **job);

/**
 * Asks servers of a store, each alone, what is wrong with them: a JSON array of `{url, store, rate, clock, findings}` in the order of `urls`,
 * `findings` being an array of `{check, verdict, message}` with a verdict of ok, warning or bad. What is wrong with a server is no
 * error. `options` may be NULL.
 */
int32_t cv_doctor_http(const char *const *urls,
                       size_t count,
                       const cv_http_options *options,
                       char **examined_json);

/**
 * Opens the store at `url`, `https://HOST[:PORT][/PATH]`, to be read: from that server, and from those that `options` names, which may be
 * NULL. `cv_store_open` opens one, too, with what the environment says. With a token `cv_capture` and `cv_capture_start` send what the
 * server lacks, and it publishes the next generation of the name that the token is for.
 */
int32_t cv_store_open_http(const char *url,
                           const cv_http_options *options,
                           cv_store **store);

/**
 * Hands a store out over HTTP at `address`, such as `[::]:7787`; port 0 takes any. `options` may be NULL. The server runs until it is
 * stopped or freed; the store may be freed before.
 */
int32_t cv_server_start(const cv_store *store,
                        const char *address,
                        const cv_server_options *options,
                        cv_server **server);

/**
 * Makes the directory a mirror of the server at `url` and hands it out, when all is there and whole; from then on it follows. The directory
 * is empty at first, or the mirror already. Both kinds of options may be NULL, and so may `on_event`, which is called until the server
 * has ended: with the progress of the first pull, and a warning when the origin cannot be followed.
 */
int32_t cv_server_mirror(const char *directory,
                         const char *address,
                         const char *url,
                         const cv_http_options *origin,
                         const cv_server_options *options,
                         cv_event_fn on_event,
                         void *user,
                         cv_server **server);

/**
 * Where a server listens: `127.0.0.1:7787`.
 */
int32_t cv_server_address(const cv_server *server, char **address);

/**
 * What a server has done, in the text format of Prometheus.
 */
int32_t cv_server_metrics(const cv_server *server, char **metrics);

/**
 * Stops a server: it takes no new connections, and those that run have `grace_ms` milliseconds to finish. CV_E_TIMEOUT when some were
 * cut off. The handle has to be freed all the same.
 */
int32_t cv_server_stop(const cv_server *server,
                       uint32_t grace_ms);

/**
 * Frees a server; one that runs ends at once. NULL is fine.
 */
int32_t cv_server_free(cv_server *server);

/**
 * Makes a token for one new generation of `name` and tells its secret, which is told this once. At most `max_size` bytes may be sent with
 * it, and for `lifetime_s` seconds; 0 is no limit of either. `secret` is to be freed with `cv_string_free`.
 */
int32_t cv_token_create(const cv_store *store,
                        const char *name,
                        uint64_t max_size,
                        uint64_t lifetime_s,
                        char **secret);

/**
 * The tokens of a store, without their secrets: a JSON array of `{id, name, max_size, created, expires, used}`.
 */
int32_t cv_token_list(const cv_store *store,
                      char **tokens_json);

/**
 * Removes the token with this id: nothing can be sent with it any more.
 */
int32_t cv_token_remove(const cv_store *store, const char *id);

/**
 * Makes a node known and tells the secret by which it says who it is, which is told this once and is to be freed with
 * `cv_string_free`.
 */
int32_t cv_node_add(const cv_store *store,
                    const char *name,
                    char **secret);

/**
 * The nodes that are known: a JSON array of `{name, created, seen}`.
 */
int32_t cv_node_list(const cv_store *store, char **nodes_json);

/**
 * Forgets a node, and what it was asked for.
 */
int32_t cv_node_remove(const cv_store *store, const char *name);

/**
 * Asks a node for something, through a server of this store, and waits for its end. `action_json` is
 * `{"do":"capture","name":NAME,"tag":null,"exclude":[],"max_size":null}` or `{"do":"update","image":REF,"dry_run":false,"protect":[]}`; `result_json`
 * becomes what `cv_store_capture` or `cv_image_update` gives, with lists that are cut. Whoever has not come for it within `patience_ms`
 * gets it no more: CV_E_TIMEOUT; a node whose policy does not allow it: CV_E_REFUSED. `on_event` may be NULL.
 */
int32_t cv_node_ask(const cv_store *store,
                    const char *node,
                    const char *action_json,
                    uint64_t patience_ms,
                    cv_event_fn on_event,
                    void *user,
                    char **result_json);

/**
 * Starts what `cv_node_ask` does; the result is the same object.
 */
int32_t cv_node_ask_start(const cv_store *store,
                          const char *node,
                          const char *action_json,
                          uint64_t patience_ms,
                          cv_job **job);

/**
 * Starts to be a node: asks the server at `url` for orders, and does what the policy file allows, until the job is cancelled. `secret` is
 * what `cv_node_add` told. `options` may be NULL, and so may `state`, the directory in which this host keeps its state.
 */
int32_t cv_node_connect_start(const char *url,
                              const cv_http_options *options,
                              const char *secret,
                              const char *policy,
                              const char *state,
                              cv_job **job);

/**
 * Captures the tree at `root` as the next generation of `name`; when nothing has changed there is no new one. The
 * result is a JSON object `{name, generation, image, tree, changed, entries, …}`. `options` and `on_event` may be NULL.
 */
int32_t cv_store_capture(const cv_store *store,
                         const char *root,
                         const char *name,
                         const cv_capture_options *options,
                         cv_event_fn on_event,
                         void *user,
                         char **captured_json);

/**
 * Starts what `cv_store_capture` does; the result is the same object.
 */
int32_t cv_store_capture_start(const cv_store *store,
                               const char *root,
                               const char *name,
                               const cv_capture_options *options,
                               cv_job **job);

/**
 * Closes an image. NULL is fine.
 */
int32_t cv_image_free(cv_image *image);

/**
 * The image id: 64 hex digits.
 */
int32_t cv_image_id(const cv_image *image, char **id);

/**
 * The tree id: 64 hex digits that equal trees have in common.
 */
int32_t cv_image_tree_id(const cv_image *image, char **id);

/**
 * What is known of an image: a JSON object `{image, tree, parent, release, tags, totals, facts, policy, …}`.
 */
int32_t cv_image_info(const cv_image *image,
                      char **info_json);

/**
 * The entry at `path`, and if it is a directory the entries in it, with `recursive` all beneath it: a JSON array of
 * `{path, kind, mode, uid, gid, mtime, size, …}`, the first of which is `path` itself.
 */
int32_t cv_image_ls(const cv_image *image,
                    const char *path,
                    bool recursive,
                    char **entries_json);

/**
 * Writes the content of a regular file to the file descriptor `fd`, which stays open.
 */
int32_t cv_image_cat(const cv_image *image, const char *path, int32_t fd);

/**
 * Extracts an image into a directory, which is made if need be and must hold nothing but empty directories. The
 * result is a JSON object `{entries, bytes, verified, losses}`. `options` and `on_event` may be NULL.
 */
int32_t cv_image_extract(const cv_image *image,
                         const char *target,
                         const cv_extract_options *options,
                         cv_event_fn on_event,
                         void *user,
                         char **extracted_json);

/**
 * Starts what `cv_image_extract` does; the result is the same object.
 */
int32_t cv_image_extract_start(const cv_image *image,
                               const char *target,
                               const cv_extract_options *options,
                               cv_job **job);

/**
 * Makes an Ed25519 key: the private half in `file`, which must not exist and which only its owner may read, the public
 * half in `file.pub`; gives the key id, 16 hex digits.
 */
int32_t cv_key_generate(const char *file,
                        char **key_id);

/**
 * Opens a store once more, as one that signs each generation it makes (captures, imports, roll backs, removals), and
 * each file that it derives, with the private key in `key_file`. Both handles are freed.
 */
int32_t cv_store_signing(const cv_store *store,
                         const char *key_file,
                         cv_store **signing);

/**
 * Opens a store once more, as one that opens only images whose generation one of the public keys in `key_files` signed:
 * `CV_E_INTEGRITY` for any other. With `state`, a directory, the highest generation of a name or tag that was believed is
 * kept there, and a lower one is `CV_E_STALE` later; NULL remembers nothing. Both handles are freed.
 */
int32_t cv_store_trusting(const cv_store *store,
                          const char *const *key_files,
                          size_t count,
                          const char *state,
                          cv_store **trusting);

/**
 * Adds the signature of the key of this store, one of `cv_store_signing`, to a generation that is there, and gives the
 * release as JSON.
 */
int32_t cv_store_sign(const cv_store *store,
                      const char *reference,
                      char **release_json);

/**
 * Reads all of an image and compares it with its hashes; `threads` of 0 is one for each core. The result is a JSON
 * object `{image, tree, name, generation, key, entries, chunks, bytes, …}`, where `key` is the id of the key that signed
 * it, if the store asked. `on_event` may be NULL.
 */
int32_t cv_image_verify(const cv_image *image,
                        uint32_t threads,
                        cv_event_fn on_event,
                        void *user,
                        char **verified_json);

/**
 * Starts what `cv_image_verify` does; the result is the same object.
 */
int32_t cv_image_verify_start(const cv_image *image, uint32_t threads, cv_job **job);

/**
 * Updates the tree at `target` to an image: only what differs is written, what runs keeps running, and the node's own
 * configuration stays. The result is a JSON object `{created, replaced, metadata, deleted, kept, verdict, …}`, of a dry
 * run with `actions`. `options` and `on_event` may be NULL.
 */
int32_t cv_image_update(const cv_image *image,
                        const char *target,
                        const cv_update_options *options,
                        cv_event_fn on_event,
                        void *user,
                        char **updated_json);

/**
 * Starts what `cv_image_update` does; the result is the same object.
 */
int32_t cv_image_update_start(const cv_image *image,
                              const char *target,
                              const cv_update_options *options,
                              cv_job **job);

/**
 * What differs between an image and the tree at `tree`, byte by byte: a JSON array as of `cv_store_diff`, where what
 * only the tree has is added; `kept` says why an update would leave a path alone. With `exact` nothing is left out.
 * `on_event` may be NULL.
 */
int32_t cv_image_diff_tree(const cv_image *image,
                           const char *tree,
                           bool exact,
                           cv_event_fn on_event,
                           void *user,
                           char **changes_json);

/**
 * Starts what `cv_image_diff_tree` does; the result is the same array.
 */
int32_t cv_image_diff_tree_start(const cv_image *image, const char *tree, bool exact, cv_job **job);

/**
 * Sends an image over the network interface `interface` to all nodes that ask for it, until nobody wants anything any more. The result
 * is a JSON object `{image, stage, rate, limited_by, stripes, bytes, seconds, sent, receivers}`, `receivers` being an array of `{name, standing, loss, …}`: who has all of
 * it is `done`, who was told to go to mirrors `detached`. `options` and `on_event` may be NULL.
 */
int32_t cv_mcast_send(const cv_image *image,
                      const char *interface,
                      const cv_mcast_send_options *options,
                      cv_event_fn on_event,
                      void *user,
                      char **report_json);

/**
 * Starts what `cv_mcast_send` does; the result is the same object, and `cv_job_report` gives it as it is so far.
 */
int32_t cv_mcast_send_start(const cv_image *image,
                            const char *interface,
                            const cv_mcast_send_options *options,
                            cv_job **job);

/**
 * Waits for an image that is sent to many, and writes it into `target` while it comes: an empty directory, one that does not exist,
 * one in which this was interrupted, or with `update` a tree that becomes this image.
 * What multicast does not bring is read from the servers that `mirrors` names in its `mirrors`, and the rest of it says how they are
 * reached. The result is a JSON object `{image, name, generation, received, instead, extracted, updated}`: `extracted` is that
 * of `cv_image_extract`, `updated` that of `cv_image_update` or null, and `instead` says why the rest came from mirrors, if it did. `options`, `mirrors` and `on_event` may be NULL.
 */
int32_t cv_mcast_recv(const char *target,
                      const char *interface,
                      const cv_mcast_recv_options *options,
                      const cv_http_options *mirrors,
                      cv_event_fn on_event,
                      void *user,
                      char **delivered_json);

/**
 * Starts what `cv_mcast_recv` does; the result is the same object.
 */
int32_t cv_mcast_recv_start(const char *target,
                            const char *interface,
                            const cv_mcast_recv_options *options,
                            const cv_http_options *mirrors,
                            cv_job **job);

/**
 * Sends over the network interface `interface` to the hosts where `cv_doctor_mcast_recv` runs, by each way, at each length and rate, up to
 * 1 Gbit/s for a third of a second, and says what arrived. The result is a JSON object `{interface, group, findings, receivers}`: `findings` is an
 * array of `{check, verdict, message}` with a verdict of ok, warning or bad; `receivers` has `{name, address, findings, counts}` of each, and
 * `counts` is what came there, `{way, rate, sent, received, …}`, the rate in kbit/s. What is wrong with the network is no error: images can be
 * sent as it is when no verdict is bad. `options` and `on_event` may be NULL.
 */
int32_t cv_doctor_mcast_send(const char *interface,
                             const cv_doctor_mcast_options *options,
                             cv_event_fn on_event,
                             void *user,
                             char **found_json);

/**
 * Starts what `cv_doctor_mcast_send` does; the result is the same object.
 */
int32_t cv_doctor_mcast_send_start(const char *interface,
                                   const cv_doctor_mcast_options *options,
                                   cv_job **job);

/**
 * Listens to what `cv_doctor_mcast_send` sends on another host, tells it what arrives, and says what is wrong here. The result is a JSON object
 * `{interface, group, sender, findings, counts}`: `sender` is its address, or null when nothing of it came; `findings` and `counts` are as
 * there. What is wrong with the network is no error. `options` and `on_event` may be NULL.
 */
int32_t cv_doctor_mcast_recv(const char *interface,
                             const cv_doctor_mcast_options *options,
                             cv_event_fn on_event,
                             void *user,
                             char **found_json);

/**
 * Starts what `cv_doctor_mcast_recv` does; the result is the same object.
 */
int32_t cv_doctor_mcast_recv_start(const char *interface,
                                   const cv_doctor_mcast_options *options,
                                   cv_job **job);

/**
 * Imports the archive that the file descriptor `fd` gives, compressed or not, as the next generation of `name`. The
 * result is a JSON object `{name, generation, image, tree, changed, entries, notes, …}`. `options` and `on_event` may
 * be NULL.
 */
int32_t cv_store_import_tar(const cv_store *store,
                            int32_t fd,
                            const char *name,
                            const cv_tar_import_options *options,
                            cv_event_fn on_event,
                            void *user,
                            char **imported_json);

/**
 * Starts what `cv_store_import_tar` does; the result is the same object. The file descriptor is copied and may be
 * closed.
 */
int32_t cv_store_import_tar_start(const cv_store *store,
                                  int32_t fd,
                                  const char *name,
                                  const cv_tar_import_options *options,
                                  cv_job **job);

/**
 * Writes an image as an archive to the file descriptor `fd`, which stays open; the same image and options give the
 * same bytes. The result is a JSON object `{entries, bytes, long_paths, …}`. `options` and `on_event` may be NULL.
 */
int32_t cv_image_export_tar(const cv_image *image,
                            int32_t fd,
                            const cv_tar_export_options *options,
                            cv_event_fn on_event,
                            void *user,
                            char **exported_json);

/**
 * Starts what `cv_image_export_tar` does; the result is the same object. The file descriptor is copied and may be
 * closed.
 */
int32_t cv_image_export_tar_start(const cv_image *image,
                                  int32_t fd,
                                  const cv_tar_export_options *options,
                                  cv_job **job);

/**
 * Imports what is at `path` as the next generation of `name`: a tar archive, an OCI image layout (a directory, or one in
 * a plain tar archive), an archive of `docker save`, or a squashfs; it is told by content. The result is a JSON object
 * `{name, generation, image, tree, changed, format, layers, notes, …}`. `options` and `on_event` may be NULL.
 */
int32_t cv_store_import(const cv_store *store,
                        const char *path,
                        const char *name,
                        const cv_tar_import_options *options,
                        cv_event_fn on_event,
                        void *user,
                        char **imported_json);

/**
 * Starts what `cv_store_import` does; the result is the same object.
 */
int32_t cv_store_import_start(const cv_store *store,
                              const char *path,
                              const char *name,
                              const cv_tar_import_options *options,
                              cv_job **job);

/**
 * Writes an image to `path`, which must not exist; `format` is `tar`, `oci` (a directory), `oci-archive`, `squashfs`,
 * `erofs` or `cpio`. The same image and options give the same bytes. The result is a JSON object
 * `{format, entries, bytes, losses, digest, …}`. `options` and `on_event` may be NULL.
 */
int32_t cv_image_export(const cv_image *image,
                        const char *path,
                        const char *format,
                        const cv_export_options *options,
                        cv_event_fn on_event,
                        void *user,
                        char **exported_json);

/**
 * Starts what `cv_image_export` does; the result is the same object.
 */
int32_t cv_image_export_start(const cv_image *image,
                              const char *path,
                              const char *format,
                              const cv_export_options *options,
                              cv_job **job);

/**
 * Makes a file of an image once and keeps it in the store; `kind` is `squashfs`, `erofs` or `cpio`. Where `path` is not
 * NULL the file is written there as well; it must not exist. The result is a JSON object
 * `{image, kind, params, made, size, hash, losses, …}`. `options` and `on_event` may be NULL.
 */
int32_t cv_image_derive(const cv_image *image,
                        const char *kind,
                        const char *path,
                        const cv_derive_options *options,
                        cv_event_fn on_event,
                        void *user,
                        char **derived_json);

/**
 * Starts what `cv_image_derive` does; the result is the same object.
 */
int32_t cv_image_derive_start(const cv_image *image,
                              const char *kind,
                              const char *path,
                              const cv_derive_options *options,
                              cv_job **job);

/**
 * The packages that are installed in an image by rpm and by dpkg: a JSON array of `{kind, name, epoch, version, release,
 * arch, license, source, vendor, header_sha256, module}`, sorted by name; what a package does not say is left out. An image
 * without a package database is CV_E_NOT_FOUND, one with a database of a kind that cannot be read CV_E_UNSUPPORTED. The
 * database of rpm is copied for that into TMPDIR, else /var/tmp. `on_event` may be NULL.
 */
int32_t cv_image_packages(const cv_image *image,
                          cv_event_fn on_event,
                          void *user,
                          char **packages_json);

/**
 * The bill of materials of an image as a JSON document: `format` is cyclonedx (1.5) or spdx (2.3). The same image opened by
 * the same generation gives the same document. `on_event` may be NULL.
 */
int32_t cv_image_sbom(const cv_image *image,
                      const char *format,
                      cv_event_fn on_event,
                      void *user,
                      char **document_json);

/**
 * How the packages of image `after` differ from those of `before`: a JSON object `{added, removed, changed}` of arrays, the
 * last of `{old, new}`. `on_event` may be NULL.
 */
int32_t cv_image_diff_packages(const cv_image *before,
                               const cv_image *after,
                               cv_event_fn on_event,
                               void *user,
                               char **changes_json);

/**
 * Reads a document in YAML or JSON; `name` stands for it in messages. When something is wrong, the error has all of it
 * in `detail.diagnostics`, with line and column.
 */
int32_t cv_layout_parse(const char *document,
                        const char *name,
                        cv_layout **layout);

/**
 * Reads a document from a file, as `cv_layout_parse` does. What it extends lies beside it.
 */
int32_t cv_layout_load(const char *file, cv_layout **layout);

/**
 * Reads a document from a file. What it extends lies beside it, or else in one of the `count` directories of `search`, the
 * first of which that has it counts.
 */
int32_t cv_layout_load_from(const char *file,
                            const char *const *search,
                            size_t count,
                            cv_layout **layout);

/**
 * Everything that is wrong with a document in a file and with what it extends, as `cv_layout_check` gives it; where the
 * mistake is in another document, it has `document` besides. What it extends is found as by `cv_layout_load_from`.
 */
int32_t cv_layout_check_file(const char *file,
                             const char *const *search,
                             size_t count,
                             char **diagnostics_json);

/**
 * Everything that is wrong with a document that extends no other: a JSON array of `{code, severity, path, line, column,
 * message, hint}`, empty when nothing is.
 */
int32_t cv_layout_check(const char *document,
                        const char *name,
                        char **diagnostics_json);

/**
 * The JSON Schema of layout documents.
 */
int32_t cv_layout_schema(char **schema_json);

/**
 * Frees a layout. NULL is fine.
 */
int32_t cv_layout_free(cv_layout *layout);

/**
 * The name of a layout.
 */
int32_t cv_layout_name(const cv_layout *layout, char **name);

/**
 * A layout, with all that it extends, as a JSON document, which `cv_layout_parse` reads again. The order of its keys means
 * something.
 */
int32_t cv_layout_json(const cv_layout *layout,
                       char **document_json);

/**
 * What stands for the meaning of a layout, 64 hex digits: the same however it is written.
 */
int32_t cv_layout_hash(const cv_layout *layout, char **hash);

/**
 * Captures a layout from the disks of this machine, or from the `count` disks or image files that are named; they are
 * opened for reading. The result is a JSON object: `document` is YAML with what was observed in comments, `layout` the
 * same as JSON, which `cv_layout_parse` reads; `notes` and `unsupported` are texts. `options` may be NULL.
 */
int32_t cv_layout_capture(const char *const *disks,
                          size_t count,
                          const cv_layout_capture_options *options,
                          char **captured_json);

/**
 * Makes a plan for these disks, which are opened for reading only: the disk or image file `disks[i]` belongs to the set
 * `sets[i]` of the layout; a set of several disks is named for each. `options` may be NULL.
 */
int32_t cv_layout_plan(const cv_layout *layout,
                       const char *const *sets,
                       const char *const *disks,
                       size_t count,
                       const cv_plan_options *options,
                       cv_plan **plan);

/**
 * Frees a plan. NULL is fine.
 */
int32_t cv_plan_free(cv_plan *plan);

/**
 * A plan as text: each disk now and after, what is lost, what is done, and the token that confirms it.
 */
int32_t cv_plan_text(const cv_plan *plan, char **shown);

/**
 * A plan as JSON, shape `cv.plan/v1`.
 */
int32_t cv_plan_json(const cv_plan *plan, char **plan_json);

/**
 * A plan as a picture, an SVG document: each disk now and after, what is lost, and what is made out of the partitions.
 */
int32_t cv_plan_svg(const cv_plan *plan,
                    char **svg);

/**
 * The token, which confirms this plan and no other.
 */
int32_t cv_plan_token(const cv_plan *plan, char **token);

/**
 * Makes the disks what the plan says, and deploys an image on them if the options have one: WHAT IS ON THEM IS LOST.
 * `token` is that of the plan; with any other it is `CV_E_REFUSED`, and nothing is written. The result is a JSON object
 * `{layout, disks, filesystems, kernels, …}`, of an image that was sent to many with `delivered`, the result of `cv_mcast_recv`. `options` and `on_event` may be NULL.
 */
int32_t cv_plan_apply(const cv_plan *plan,
                      const char *token,
                      const cv_apply_options *options,
                      cv_event_fn on_event,
                      void *user,
                      char **applied_json);

/**
 * Starts what `cv_plan_apply` does; the result is the same object.
 */
int32_t cv_plan_apply_start(const cv_plan *plan,
                            const char *token,
                            const cv_apply_options *options,
                            cv_job **job);

/**
 * The journal of an apply: a JSON object `{plan, steps, saved, done}`. `plan` is its first line, `steps` says what was
 * begun and what of it is done.
 */
int32_t cv_journal_read(const char *journal,
                        char **journal_json);

/**
 * Applies actions, a JSON array such as `[{"hostname": "n1"}]`, to the tree at `root`: all of them, or none. The result is
 * a JSON array with "unchanged", "created" or "changed" for each. `on_event` may be NULL.
 */
int32_t cv_config_apply(const char *root,
                        const char *actions_json,
                        cv_event_fn on_event,
                        void *user,
                        char **outcomes_json);

/**
 * Starts what `cv_config_apply` does; the result is the same array.
 */
int32_t cv_config_apply_start(const char *root, const char *actions_json, cv_job **job);

/**
 * Adds the distribution in `place`: an ISO image, a directory that holds its repositories, or the suite of a mirror of Debian or
 * Ubuntu, such as `http://mirror.example/debian/dists/bookworm`. The result is a JSON object
 * `{name, image, tree, changed, files, read_bytes, stored_bytes, distribution, notes}`; the same once more changes nothing.
 * `options` and `on_event` may be NULL.
 */
int32_t cv_distro_add(const cv_store *store,
                      const char *place,
                      const cv_distro_options *options,
                      cv_event_fn on_event,
                      void *user,
                      char **added_json);

/**
 * Starts what `cv_distro_add` does; the result is the same object.
 */
int32_t cv_distro_add_start(const cv_store *store,
                            const char *place,
                            const cv_distro_options *options,
                            cv_job **job);

/**
 * The distributions of a store: a JSON array of `{name, added, image, size, distribution}`, sorted by name.
 */
int32_t cv_distro_list(const cv_store *store, char **distros_json);

/**
 * What is known of a distribution: one of the objects of `cv_distro_list`.
 */
int32_t cv_distro_info(const cv_store *store, const char *name, char **distro_json);

/**
 * Checks each package of a distribution: its checksum, and its signature where rpm is installed. What is wrong is in the
 * report, a JSON object `{name, packages, bytes, signatures, faults}` whose array `faults`, of `{path, package, message}`, is
 * empty when all is well. 0 threads are one for each core. `on_event` may be NULL.
 */
int32_t cv_distro_verify(const cv_store *store,
                         const char *name,
                         uint32_t threads,
                         cv_event_fn on_event,
                         void *user,
                         char **report_json);

/**
 * Starts what `cv_distro_verify` does; the result is the report.
 */
int32_t cv_distro_verify_start(const cv_store *store, const char *name, uint32_t threads, cv_job **job);

/**
 * Removes a distribution. What only it needs stays until it is collected.
 */
int32_t cv_distro_remove(const cv_store *store, const char *name);

/**
 * Reads a role in YAML or JSON; `name` stands for it in messages. It may extend the roles that come with libcv. When
 * something is wrong, the error has all of it in `detail.diagnostics`, with line and column.
 */
int32_t cv_role_parse(const char *document,
                      const char *name,
                      cv_role **role);

/**
 * Reads a role from a file, or by its name: what has a `/` or an ending in it is a file. What a file extends, and files that
 * it names, lie beside it; roles are then looked for in the `count` directories of `search`, then among those that come
 * with libcv: minimal, node, login, storage, head.
 */
int32_t cv_role_find(const char *name_or_file,
                     const char *const *search,
                     size_t count,
                     cv_role **role);

/**
 * Several roles as one that extends them, in this order; each of the `names_count` names is a role or a file as for
 * `cv_role_find`. One alone is that one.
 */
int32_t cv_role_find_all(const char *const *names_or_files,
                         size_t names_count,
                         const char *const *search,
                         size_t count,
                         cv_role **role);

/**
 * Everything that is wrong with a role: a JSON array of `{code, severity, path, line, column, message, hint}`, empty when
 * nothing is; where the mistake is in a role that it extends, it has `document` besides.
 */
int32_t cv_role_check(const char *document,
                      const char *name,
                      char **diagnostics_json);

/**
 * Everything that is wrong with a role in a file, as `cv_role_check` gives it. What it extends is found as by
 * `cv_role_find`.
 */
int32_t cv_role_check_file(const char *file,
                           const char *const *search,
                           size_t count,
                           char **diagnostics_json);

/**
 * The JSON Schema of roles.
 */
int32_t cv_role_schema(char **schema_json);

/**
 * Frees a role. NULL is fine.
 */
int32_t cv_role_free(cv_role *role);

/**
 * The name of a role.
 */
int32_t cv_role_name(const cv_role *role, char **name);

/**
 * A role, with all that it extends, as a JSON document, which `cv_role_parse` reads again; or only what it says of one
 * system, such as `el9`, `debian12`, `ubuntu24.04`. `system` may be NULL.
 */
int32_t cv_role_json(const cv_role *role,
                     const char *system,
                     char **document_json);

/**
 * A role, with all that it extends, as a YAML document, as a person would write it.
 */
int32_t cv_role_yaml(const cv_role *role, char **document);

/**
 * What stands for the meaning of a role, 64 hex digits: the same however it is written.
 */
int32_t cv_role_digest(const cv_role *role, char **digest);

/**
 * Makes the next generation of `name` from the distribution `distro`, or lays the role over the image `image`; one of the two
 * may be NULL. The result is a JSON object `{image, transaction, epoch, warnings, failed, differs}`, in which `image` is
 * what `cv_store_capture` gives, and null after a dry run. `options` and `on_event` may be NULL. Needs root and the package
 * manager of the distribution.
 */
int32_t cv_build(const cv_store *store,
                 const char *name,
                 const char *distro,
                 const char *image,
                 const cv_role *role,
                 const cv_build_options *options,
                 cv_event_fn on_event,
                 void *user,
                 char **made_json);

/**
 * Starts what `cv_build` does; the result is the same object.
 */
int32_t cv_build_start(const cv_store *store,
                       const char *name,
                       const char *distro,
                       const char *image,
                       const cv_role *role,
                       const cv_build_options *options,
                       cv_job **job);

/**
 * Makes a new generation of `name` out of its newest one: packages as the distribution has them now, more packages, another
 * role. `distro`, `packages` and `role` may be NULL: then it is what the image was built from. The result is that of
 * `cv_build`.
 */
int32_t cv_build_update(const cv_store *store,
                        const char *name,
                        const char *distro,
                        const char *const *packages,
                        size_t package_count,
                        const cv_role *role,
                        const cv_build_options *options,
                        cv_event_fn on_event,
                        void *user,
                        char **made_json);

/**
 * Starts what `cv_build_update` does; the result is the same object.
 */
int32_t cv_build_update_start(const cv_store *store,
                              const char *name,
                              const char *distro,
                              const char *const *packages,
                              size_t package_count,
                              const cv_role *role,
                              const cv_build_options *options,
                              cv_job **job);

/**
 * Runs the program `arguments[0]` as root of the image `image`, confined, and makes what it leaves the next generation of `name`;
 * NULL is the name of the image. Nothing is made when it fails (`CV_E_PLUGIN`). The result is that of `cv_build`.
 */
int32_t cv_build_edit(const cv_store *store,
                      const char *image,
                      const char *name,
                      const char *const *arguments,
                      size_t argument_count,
                      const cv_build_options *options,
                      cv_event_fn on_event,
                      void *user,
                      char **made_json);

/**
 * Starts what `cv_build_edit` does; the result is the same object.
 */
int32_t cv_build_edit_start(const cv_store *store,
                            const char *image,
                            const char *name,
                            const char *const *arguments,
                            size_t argument_count,
                            const cv_build_options *options,
                            cv_job **job);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* LIBCV_H */

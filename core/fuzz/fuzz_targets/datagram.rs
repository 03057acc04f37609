//! Invariant: any datagrams, with checks that fit, at any time, make neither a sender nor a receiver panic, and no stripe is handed out longer
//! than it is. Input: for each datagram a byte that says to whom, when and of what kind, a byte for its length, its fields.
#![no_main]
use libcv::image::Hash;
use libcv::multicast::plan::BodyPlan;
use libcv::multicast::receive::{self, Event, Receiver};
use libcv::multicast::send::{self, Rate, Sender};
use libcv::multicast::wire::{Announce, Header, Message};
use libcv::multicast::{Keys, Mode, Session, Shape};
use libfuzzer_sys::fuzz_target;
use std::time::{Duration, Instant};

const SESSION: Session = Session(7);

fn keys() -> Keys {
    Keys::new(Mode::Crc, None, SESSION).expect("no secret is needed")
}

fuzz_target!(|bytes: &[u8]| {
    let _ = Message::decode(bytes, &keys());
    let _ = Header::open(&keys(), &mut bytes.to_vec());
    let _ = BodyPlan::decode(bytes, 3);
    let origin = Instant::now();
    let (shape, plan) = (Shape::new(64, 1000, 100_000).expect("a shape"), plan());
    let announce = announce();
    let options = send::Options { announce: announce.clone(), rate: Rate::Fixed(1_000_000_000), wait: Duration::ZERO };
    let mut sender = Sender::new(keys(), shape, plan, options, origin).expect("a sender");
    let from = ([127, 0, 0, 1], 7000).into();
    let options = receive::Options {
        node: [1; 16],
        name: "node".into(),
        datagram: 1472,
        has_mirrors: true,
        has_base: true,
        memory: 1 << 20,
    };
    let mut receiver = Receiver::new(keys(), &announce, from, options, origin).expect("a receiver");
    let (mut now, mut rest) = (origin, bytes);
    while let [what, length, more @ ..] = rest {
        let (fields, after) = more.split_at(more.len().min(usize::from(*length)));
        rest = after;
        now += Duration::from_millis(1 << (what >> 4));
        // Those of the doctor.
        if let Ok(Some(message)) = Message::decode(&checked(9 + (what >> 1 & 1), fields), &keys()) {
            assert_eq!(Message::decode(&message.encode(&keys()), &keys()).expect("what was made"), Some(message));
        }
        if what & 1 > 0 {
            sender.handle(&checked(what >> 1 & 7, fields), from, now);
        } else {
            receiver.handle(&mut checked(what >> 1 & 7, fields), now).expect("the code of a stripe");
        }
        for _ in 0..64 {
            let (Some(_), true) = (sender.poll(now), !sender.is_closed()) else { break };
        }
        let _ = (sender.next_timeout(now), sender.receivers());
        while receiver.poll(now).is_some() {}
        let _ = receiver.next_timeout();
        while let Some(event) = receiver.event() {
            if let Event::Whole(whole) = event {
                let (_, range) = shape.range(whole.stripe);
                assert_eq!(whole.bytes.len() as u64, range.end - range.start);
                receiver.again(whole.stripe);
            }
        }
    }
});

fn plan() -> BodyPlan {
    let mut plan = BodyPlan::default();
    [50_000, 30_000, 20_000].into_iter().zip(0..).for_each(|(bytes, n)| plan.add(bytes, vec![n]));
    plan
}

fn announce() -> Announce {
    Announce {
        over: false,
        failed: false,
        time: 0,
        image: Hash::of(b""),
        head: 1000,
        body: 100_000,
        symbol: 64,
        port: 7000,
        data: ([239, 1, 1, 1].into(), 7787),
        expected: 1,
        name: "image".into(),
    }
}

/// A datagram of this kind, whose check fits.
fn checked(kind: u8, fields: &[u8]) -> Vec<u8> {
    let (flags, fields) = fields.split_first().map_or((0, fields), |(f, rest)| (*f, rest));
    let mut out = vec![0x10 | kind.max(1), flags];
    if kind <= 1 {
        out.extend_from_slice(&(SESSION.0 as u16).to_le_bytes());
        let mut fields = fields.to_vec();
        fields.resize(fields.len().max(8), 0);
        // Small numbers are stripes that there are.
        out.extend_from_slice(&fields);
        out.resize(12 + 64, 0);
        let crc = crc(&[&out[..12], &out[12..]]);
        out.splice(12..12, crc);
    } else {
        out.extend_from_slice(&[0, 0]);
        out.extend_from_slice(&SESSION.0.to_le_bytes());
        out.extend_from_slice(fields);
        let crc = crc(&[&out, &[]]);
        out.extend_from_slice(&crc);
    }
    out
}

/// CRC-32 (IEEE) over the session and these, bit by bit: slow and independent of the library's.
fn crc(parts: &[&[u8]]) -> [u8; 4] {
    let session = SESSION.0.to_le_bytes();
    let bytes = session.iter().chain(parts.iter().copied().flatten());
    let crc = !bytes.fold(!0u32, |crc, b| {
        (0..8).fold(crc ^ u32::from(*b), |c, _| if c & 1 == 1 { c >> 1 ^ 0xedb8_8320 } else { c >> 1 })
    });
    crc.to_le_bytes()
}

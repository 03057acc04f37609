//! A session over time as an SVG: how much each receiver has, and what the sender sends.

use std::fmt::Write;
use std::time::Duration;

/// What is seen at one moment.
#[derive(Debug)]
pub(crate) struct Moment {
    pub(crate) time: Duration,
    /// Stripes that each receiver has; `None` while it is not there.
    pub(crate) whole: Vec<Option<u32>>,
    /// Symbols that were sent: of the first pass, parity, of whole stripes.
    pub(crate) sent: [u64; 3],
}

const WIDTH: f64 = 900.0;
const HEIGHT: f64 = 300.0;
const COLOURS: [&str; 8] = ["#3366aa", "#aa3366", "#339966", "#996633", "#6633aa", "#339999", "#aa6633", "#666666"];

/// The picture; `stripes` is how many there are.
pub(crate) fn svg(title: &str, moments: &[Moment], stripes: u32) -> String {
    let end = moments.last().map_or(1.0, |m| m.time.as_secs_f64()).max(0.001);
    let x = |m: &Moment| 50.0 + WIDTH * m.time.as_secs_f64() / end;
    let y = |share: f64, row: f64| 30.0 + row * (HEIGHT + 50.0) + HEIGHT * (1.0 - share);
    let mut out = String::new();
    let _ = write!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{}\" height=\"{}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n<text x=\"50\" y=\"18\">{title}</text>\n",
        WIDTH + 120.0,
        2.0 * HEIGHT + 130.0
    );
    for (row, what) in ["stripes that receivers have", "symbols that were sent"].iter().enumerate() {
        let (top, bottom) = (y(1.0, row as f64), y(0.0, row as f64));
        let _ = write!(
            out,
            "<path d=\"M50 {top}V{bottom}H{}\" fill=\"none\" stroke=\"black\"/>\n<text x=\"56\" y=\"{}\">{what}</text>\n\
             <text x=\"{}\" y=\"{}\">{end:.2} s</text>\n",
            50.0 + WIDTH,
            top + 12.0,
            20.0 + WIDTH,
            bottom + 16.0
        );
    }
    let receivers = moments.first().map_or(0, |m| m.whole.len());
    for n in 0..receivers {
        let has = |m: &Moment| m.whole[n].map(|w| (x(m), y(f64::from(w) / f64::from(stripes), 0.0)));
        line(&mut out, moments.iter().filter_map(has), COLOURS[n % COLOURS.len()], &format!("receiver {n}"));
    }
    let most = moments.last().map_or(1, |m| m.sent.iter().sum::<u64>()).max(1) as f64;
    for (n, name) in ["first pass", "parity", "stripes sent again"].iter().enumerate() {
        line(&mut out, moments.iter().map(|m| (x(m), y(m.sent[n] as f64 / most, 1.0))), COLOURS[n], name);
        let _ = writeln!(
            out,
            "<text x=\"{}\" y=\"{}\" fill=\"{}\">{name}</text>",
            60.0 + 160.0 * n as f64,
            2.0 * HEIGHT + 110.0,
            COLOURS[n]
        );
    }
    out.push_str("</svg>\n");
    out
}

fn line(out: &mut String, points: impl Iterator<Item = (f64, f64)>, colour: &str, name: &str) {
    let points: Vec<String> = points.map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
    let _ = writeln!(
        out,
        "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\"><title>{name}</title></polyline>",
        points.join(" ")
    );
}

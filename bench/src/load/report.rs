// SPDX-License-Identifier: EUPL-1.2
//! The table and the plot of a run.

use std::fmt::Write as _;

/// The rate for which answers and memory have a target.
pub const CALM: u32 = 300;

/// Times at one rate.
#[derive(Clone, Debug)]
pub struct AtRate {
    /// Where to.
    pub to: &'static str,
    /// Applications a second that were due.
    pub rate: u32,
    /// Refused, failed, or never delivered.
    pub failed: usize,
    /// ms from due to answered: p50, p99, p99.9.
    pub answered: [f64; 3],
    /// ms from due to delivered: p50, p99, p99.9.
    pub delivered: [f64; 3],
    /// The most memory that the program held, in MB.
    pub memory: f64,
}

/// Throughput of one flood.
#[derive(Clone, Debug)]
pub struct Flood {
    /// What.
    pub name: &'static str,
    /// Delivered a second, one figure each time it was tried.
    pub rates: Vec<f64>,
}

impl Flood {
    /// The median.
    pub fn median(&self) -> f64 {
        let mut sorted = self.rates.clone();
        sorted.sort_by(f64::total_cmp);
        sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
    }

    fn row(&self) -> String {
        let least = self.rates.iter().copied().fold(f64::INFINITY, f64::min);
        let most = self.rates.iter().copied().fold(0.0, f64::max);
        format!("| {} | {:.0}/s | {least:.0} – {most:.0} |\n", self.name, self.median())
    }
}

/// A database of some size.
#[derive(Clone, Debug)]
pub struct Stored {
    /// Applications in it.
    pub count: u32,
    /// µs per application from the first sent to the last delivered.
    pub cost: f64,
    /// The slowest kind of search.
    pub search: String,
    /// Its p95 in ms.
    pub p95: f64,
}

/// Everything that a run found out.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Processor, cores, kernel.
    pub machine: String,
    /// Load average before and after.
    pub others: String,
    /// ms, before and after.
    pub fsync: [f64; 2],
    /// µs of reading, mapping, writing and validating.
    pub mapping: f64,
    /// Bytes of a message.
    pub message: usize,
    /// At fixed rates.
    pub rates: Vec<AtRate>,
    /// As fast as it goes: HTTP, floor, folders.
    pub floods: Vec<Flood>,
    /// The most memory of all, in MB.
    pub memory: f64,
    /// By size.
    pub stored: Vec<Stored>,
    /// ms each, and requests that failed meanwhile.
    pub reloads: (Vec<f64>, usize),
}

impl Report {
    /// The page `docs/leistung.md`.
    pub fn page(&self) -> String {
        let mut out = format!(
            "# Leistung\n\nGeschrieben von `make bench` (`make bench-floor` misst nur den Vergleich mit dem Boden). Ein Bauantrag \
             wird angenommen (dauerhaft, SQLite `synchronous=FULL`), abgebildet, als XBau 0200 ({} Bytes) geschrieben und gegen \
             das Schema geprüft, dann zugestellt. Lasterzeuger und Empfänger laufen in einem zweiten Prozess auf denselben \
             Kernen. Zeiten zählen ab dem Zeitpunkt, zu dem der Antrag fällig war (open loop).\n\n\
             Maschine: {}. Last anderer davor und danach: {}. fsync (4 KiB) p50 davor und danach: {:.2} und {:.2} ms. \
             Lesen, Abbilden, Schreiben und Prüfen: {:.0} µs je Antrag.\n\n![Verlauf](leistung.svg)\n\n\
             ## Feste Raten\n\n| nach | je s | gescheitert | beantwortet p50 / p99 / p99,9 ms | zugestellt p50 / p99 / p99,9 ms | Speicher MB |\n\
             |---|---|---|---|---|---|\n",
            self.message, self.machine, self.others, self.fsync[0], self.fsync[1], self.mapping
        );
        for row in &self.rates {
            let three = |times: &[f64; 3]| format!("{:.1} / {:.1} / {:.1}", times[0], times[1], times[2]);
            let _ = writeln!(
                out,
                "| {} | {} | {} | {} | {} | {:.0} |",
                row.to,
                row.rate,
                row.failed,
                three(&row.answered),
                three(&row.delivered),
                row.memory
            );
        }
        out += "\n## So schnell es geht\n\nDer Boden ist ein Programm ohne Engine: dieselben Schritte des Speichers (dieselben \
                Anweisungen, COMMITs und fsyncs), dasselbe HTTP, statt des Abbildens eine gleich lange Rechenschleife. Boden \
                und Engine wechseln sich ab.\n\n| was | Median | Spanne |\n|---|---|---|\n";
        for flood in &self.floods {
            out += &flood.row();
        }
        out += "\n## Ziele\n\n";
        for (met, text) in self.targets() {
            let _ = writeln!(out, "- {} {text}", if met { "✓" } else { "✗" });
        }
        out += "\n## Wachsender Bestand\n\n| gespeichert | µs je Antrag | langsamste Suche | p95 ms |\n|---|---|---|---|\n";
        for row in &self.stored {
            let _ = writeln!(out, "| {} | {:.0} | {} | {:.2} |", row.count, row.cost, row.search, row.p95);
        }
        out
    }

    fn targets(&self) -> Vec<(bool, String)> {
        let median = |at: usize| self.floods.get(at).map_or(f64::NAN, Flood::median);
        let ratio = median(0) / median(1);
        let calm = || self.rates.iter().filter(|row| row.rate == CALM);
        let answered = calm().map(|row| row.answered[1]).fold(0.0, f64::max);
        let memory = calm().map(|row| row.memory).fold(0.0, f64::max);
        let mut targets = vec![(ratio >= 0.6, format!("Engine / Boden: {ratio:.2} (Ziel ≥ 0,6)"))];
        if calm().next().is_some() {
            targets.push((
                answered < 20.0,
                format!("beantwortet bei {CALM}/s, p99: {answered:.1} ms (Ziel < 20)"),
            ));
            targets.push((
                memory <= 80.0,
                format!(
                    "Speicher bei {CALM}/s: {memory:.0} MB (Ziel ≤ 80), bei Überlast bis {:.0} MB",
                    self.memory
                ),
            ));
        }
        if let (Some(first), Some(last)) = (self.stored.first(), self.stored.last()) {
            let grown = last.cost / first.cost;
            targets.push((
                grown < 1.25,
                format!(
                    "Kosten bei {} statt {} gespeicherten: {grown:.2}-fach (Ziel: gleich)",
                    last.count, first.count
                ),
            ));
            targets.push((
                last.p95 < 20.0,
                format!("Suche bei {} gespeicherten, p95: {:.1} ms (Ziel < 20)", last.count, last.p95),
            ));
        }
        let slowest = self.reloads.0.iter().copied().fold(0.0, f64::max);
        if !self.reloads.0.is_empty() {
            targets.push((
                slowest < 20.0 && self.reloads.1 == 0,
                format!(
                    "neue Zuordnung übernommen in {slowest:.1} ms, {} gescheiterte Anfragen (Ziel < 20 ms, 0)",
                    self.reloads.1
                ),
            ));
        }
        targets
    }

    /// The plot: times over rates, and cost over size.
    pub fn plot(&self) -> String {
        let mut out = String::from(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 900 320\" font-family=\"sans-serif\" font-size=\"12\">\n\
             <rect width=\"900\" height=\"320\" fill=\"#fff\"/>\n",
        );
        let mut lines: Vec<Line<'_>> = Vec::new();
        for (to, colours) in [("HTTP", ["#1f5fa8", "#7fb0e0"]), ("Ordner", ["#a8541f", "#e0ad7f"])] {
            let of = |value: fn(&AtRate) -> f64| -> Vec<(f64, f64)> {
                let rows = self.rates.iter().filter(|row| row.to == to);
                rows.map(|row| (f64::from(row.rate), value(row))).collect()
            };
            lines.push((format!("{to} beantwortet p99"), colours[1], of(|row| row.answered[1])));
            lines.push((format!("{to} zugestellt p99"), colours[0], of(|row| row.delivered[1])));
        }
        panel(&mut out, 60.0, "ms, logarithmisch; Anträge je Sekunde", false, &lines);
        let cost = self.stored.iter().map(|row| (f64::from(row.count), row.cost)).collect();
        let search = self.stored.iter().map(|row| (f64::from(row.count), row.p95 * 1000.0)).collect();
        let lines =
            vec![("je Antrag".to_owned(), "#1f5fa8", cost), ("Suche p95".to_owned(), "#3f8f4f", search)];
        panel(&mut out, 510.0, "µs, logarithmisch; gespeicherte Anträge", true, &lines);
        out + "</svg>\n"
    }
}

/// Name, colour and points.
type Line<'a> = (String, &'a str, Vec<(f64, f64)>);

/// One set of lines, its values on a logarithmic scale.
fn panel(out: &mut String, left: f64, title: &str, log: bool, lines: &[Line<'_>]) {
    const WIDTH: f64 = 340.0;
    const TOP: f64 = 50.0;
    const HEIGHT: f64 = 210.0;
    let all = || lines.iter().flat_map(|(_, _, points)| points.iter().copied()).filter(|point| point.1 > 0.0);
    let across = |x: f64| if log { x.max(1.0).log10() } else { x };
    let (x0, x1) = bounds(all().map(|point| across(point.0)));
    let (y0, y1) = bounds(all().map(|point| point.1.log10()));
    let (y0, y1) = (y0.floor(), y1.ceil());
    let place = |(x, y): (f64, f64)| {
        (
            left + (across(x) - x0) / (x1 - x0).max(1e-9) * WIDTH,
            TOP + HEIGHT - (y.log10() - y0) / (y1 - y0).max(1e-9) * HEIGHT,
        )
    };
    let _ = writeln!(out, "<text x=\"{left}\" y=\"20\" font-weight=\"bold\">{title}</text>");
    let mut power = y0;
    while power <= y1 {
        let y = TOP + HEIGHT - (power - y0) / (y1 - y0).max(1e-9) * HEIGHT;
        let _ = writeln!(
            out,
            "<path d=\"M{left} {y:.1}h{WIDTH}\" stroke=\"#ddd\"/><text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            left - 6.0,
            y + 4.0,
            10.0_f64.powf(power)
        );
        power += 1.0;
    }
    let mut seen: Vec<f64> = all().map(|point| point.0).collect();
    seen.sort_by(f64::total_cmp);
    seen.dedup();
    for value in seen {
        let (x, _) = place((value, 1.0));
        let _ = writeln!(out, "<text x=\"{x:.1}\" y=\"278\" text-anchor=\"middle\">{value}</text>");
    }
    for (n, (name, colour, points)) in lines.iter().enumerate() {
        let path: Vec<String> = points
            .iter()
            .filter(|point| point.1 > 0.0)
            .map(|point| {
                let (x, y) = place(*point);
                format!("{x:.1},{y:.1}")
            })
            .collect();
        #[allow(clippy::cast_precision_loss, reason = "a handful of lines")]
        let at = left + 90.0 * n as f64;
        let _ = writeln!(
            out,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>\
             <text x=\"{at}\" y=\"{}\" fill=\"{colour}\" font-size=\"10\">{name}</text>",
            path.join(" "),
            if n % 2 == 0 { 298 } else { 312 }
        );
    }
}

fn bounds(values: impl Iterator<Item = f64>) -> (f64, f64) {
    values
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), value| (least.min(value), most.max(value)))
}

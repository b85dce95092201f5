//! A plot as SVG: lines, a band, named points.

use std::fmt::Write;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 480.0;
const MARGIN: f64 = 64.0;
/// Lines of the grid along each axis.
const STEPS: u8 = 5;

/// A named line in a colour.
struct Line {
    name: &'static str,
    colour: &'static str,
    points: Vec<(f64, f64)>,
}

/// What is drawn.
pub(super) struct Plot {
    title: &'static str,
    axes: [&'static str; 2],
    lines: Vec<Line>,
    band: Vec<(f64, f64)>,
    points: Vec<(&'static str, (f64, f64))>,
}

impl Plot {
    /// An empty one.
    pub(super) fn new(title: &'static str, across: &'static str, up: &'static str) -> Self {
        Self { title, axes: [across, up], lines: Vec::new(), band: Vec::new(), points: Vec::new() }
    }

    /// Adds a line in a colour.
    pub(super) fn line(&mut self, name: &'static str, colour: &'static str, points: Vec<(f64, f64)>) {
        self.lines.push(Line { name, colour, points });
    }

    /// Sets the band between two lines.
    pub(super) fn band(&mut self, low: Vec<(f64, f64)>, high: Vec<(f64, f64)>) {
        self.band = low.into_iter().chain(high.into_iter().rev()).collect();
    }

    /// Adds a named point.
    pub(super) fn point(&mut self, name: &'static str, at: (f64, f64)) {
        self.points.push((name, at));
    }

    /// The document.
    pub(super) fn to_svg(&self) -> String {
        let lines = self.lines.iter().flat_map(|line| &line.points);
        let all: Vec<(f64, f64)> = lines.chain(self.points.iter().map(|(_, at)| at)).copied().collect();
        let most = |values: &mut dyn Iterator<Item = f64>| values.fold(f64::MIN_POSITIVE, f64::max) * 1.05;
        let (across, up) = (most(&mut all.iter().map(|at| at.0)), most(&mut all.iter().map(|at| at.1)));
        let place = |(x, y): (f64, f64)| {
            let x = MARGIN + x / across * (WIDTH - 2.0 * MARGIN);
            (x, HEIGHT - MARGIN - y / up * (HEIGHT - 2.0 * MARGIN))
        };
        let path = |points: &[(f64, f64)]| {
            let places = points.iter().map(|&at| place(at));
            places.map(|(x, y)| format!("{x:.1},{y:.1}")).collect::<Vec<_>>().join(" ")
        };
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" \
             font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
             <text x=\"{MARGIN}\" y=\"30\" font-size=\"16\">{}</text>\n",
            self.title
        );
        for step in 0..=STEPS {
            let (x, y) = (across * f64::from(step) / f64::from(STEPS), up * f64::from(step) / f64::from(STEPS));
            let ((left, bottom), (right, top)) = (place((x, y)), place((across, up)));
            let floor = HEIGHT - MARGIN;
            line(
                &mut svg,
                format_args!(
                    "<path d=\"M{left:.1},{floor}V{top:.1}M{MARGIN},{bottom:.1}H{right:.1}\" stroke=\"#ddd\"/>"
                ),
            );
            line(
                &mut svg,
                format_args!("<text x=\"{left:.1}\" y=\"{}\" text-anchor=\"middle\">{x:.3}</text>", floor + 18.0),
            );
            line(
                &mut svg,
                format_args!("<text x=\"{}\" y=\"{bottom:.1}\" text-anchor=\"end\">{y:.3}</text>", MARGIN - 6.0),
            );
        }
        let [name_across, name_up] = self.axes;
        line(
            &mut svg,
            format_args!(
                "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{name_across}</text>",
                WIDTH / 2.0,
                HEIGHT - 16.0
            ),
        );
        line(
            &mut svg,
            format_args!(
                "<text transform=\"translate(16,{}) rotate(-90)\" text-anchor=\"middle\">{name_up}</text>",
                HEIGHT / 2.0
            ),
        );
        if !self.band.is_empty() {
            line(
                &mut svg,
                format_args!("<polygon points=\"{}\" fill=\"#1f6feb\" fill-opacity=\"0.15\"/>", path(&self.band)),
            );
        }
        for (number, Line { name, colour, points }) in self.lines.iter().enumerate() {
            line(
                &mut svg,
                format_args!(
                    "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
                    path(points)
                ),
            );
            let y = MARGIN + 18.0 * number as f64;
            line(&mut svg, format_args!("<text x=\"{}\" y=\"{y}\" fill=\"{colour}\">{name}</text>", MARGIN + 12.0));
        }
        for (name, at) in &self.points {
            let (x, y) = place(*at);
            line(&mut svg, format_args!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"5\" fill=\"#1f6feb\"/>"));
            line(
                &mut svg,
                format_args!(
                    "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"{}\">{name}</text>",
                    x,
                    y - 10.0,
                    if x > WIDTH / 2.0 { "end" } else { "start" }
                ),
            );
        }
        svg.push_str("</svg>\n");
        svg
    }
}

fn line(svg: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = writeln!(svg, "{text}");
}

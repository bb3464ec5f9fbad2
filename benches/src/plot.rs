//! Line plots as SVG: two axes, some series, a legend. Written by hand, so that
//! nothing has to be linked for two pictures.

use std::fmt::Write as _;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 440.0;
const LEFT: f64 = 80.0;
const RIGHT: f64 = 190.0;
const TOP: f64 = 44.0;
const BOTTOM: f64 = 54.0;
/// Told apart by people who see colours differently, too (Okabe and Ito).
const COLOURS: [&str; 7] =
    ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000"];

/// How an axis goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// From zero, in even steps.
    Linear,
    /// In powers; holds nothing that is not above zero.
    Logarithmic,
}

/// An axis.
#[derive(Clone, Debug)]
pub struct Axis {
    /// What it shows, with its unit.
    pub label: &'static str,
    /// How it goes.
    pub scale: Scale,
}

/// Points that belong together.
#[derive(Clone, Debug)]
pub struct Series {
    /// For the legend.
    pub name: String,
    /// Points, in the order in which they are joined.
    pub points: Vec<(f64, f64)>,
}

/// A plot.
#[derive(Clone, Debug)]
pub struct Plot {
    /// Above it.
    pub title: String,
    /// To the right.
    pub x: Axis,
    /// Upwards.
    pub y: Axis,
    /// Lines.
    pub series: Vec<Series>,
}

/// An axis with the values that it must hold.
struct Range {
    scale: Scale,
    low: f64,
    high: f64,
}

impl Range {
    fn of(scale: Scale, values: impl Iterator<Item = f64>) -> Self {
        let shown = values.filter(|value| scale.shows(*value));
        let (least, most) =
            shown.fold((f64::MAX, f64::MIN), |(low, high), v| (low.min(v), high.max(v)));
        let (low, high) = match scale {
            _ if least > most => (1.0, 10.0),
            Scale::Linear => (0.0, if most > 0.0 { most * 1.05 } else { 1.0 }),
            Scale::Logarithmic => (least / 1.1, most * 1.1),
        };
        Self { scale, low, high }
    }

    /// Where a value lies, 0 at the low end and 1 at the high one.
    fn place(&self, value: f64) -> f64 {
        match self.scale {
            Scale::Linear => (value - self.low) / (self.high - self.low),
            Scale::Logarithmic => (value / self.low).ln() / (self.high / self.low).ln(),
        }
    }

    /// Values to write beside the axis: 1, 2 and 5 times powers of ten.
    fn ticks(&self) -> Vec<f64> {
        let steps = |power: i32| [1.0, 2.0, 5.0].map(|step| step * 10f64.powi(power));
        match self.scale {
            Scale::Linear => {
                let fits = |step: &f64| (self.high - self.low) / step <= 8.0;
                let step = (-9..13).flat_map(steps).find(fits).unwrap_or(self.high);
                (0..=8).map(|n| f64::from(n) * step).filter(|tick| *tick <= self.high).collect()
            }
            Scale::Logarithmic => (-9..13)
                .flat_map(steps)
                .filter(|tick| (self.low..=self.high).contains(tick))
                .collect(),
        }
    }
}

impl Scale {
    fn shows(self, value: f64) -> bool {
        value.is_finite() && (self == Self::Linear || value > 0.0)
    }
}

impl Plot {
    /// The picture. Points that an axis can't hold are left out.
    #[must_use]
    pub fn to_svg(&self) -> String {
        let points = || self.series.iter().flat_map(|series| &series.points);
        let x = Range::of(self.x.scale, points().map(|point| point.0));
        let y = Range::of(self.y.scale, points().map(|point| point.1));
        let right = |value| LEFT + x.place(value) * (WIDTH - LEFT - RIGHT);
        let down = |value| HEIGHT - BOTTOM - y.place(value) * (HEIGHT - TOP - BOTTOM);
        let (end, floor) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
             font-family=\"sans-serif\" font-size=\"12\">\n\
             <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
        );
        let mut text = |x: f64, y: f64, anchor: &str, more: &str, text: &str| {
            let text = escaped(text);
            line(
                &mut svg,
                format_args!(
                    "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\"{more}>{text}</text>"
                ),
            );
        };
        text(LEFT, TOP - 20.0, "start", " font-size=\"15\"", &self.title);
        text(f64::midpoint(LEFT, end), HEIGHT - 14.0, "middle", "", self.x.label);
        let turned = format!(" transform=\"rotate(-90 18 {:.1})\"", f64::midpoint(TOP, floor));
        text(18.0, f64::midpoint(TOP, floor), "middle", &turned, self.y.label);
        for tick in x.ticks() {
            text(right(tick), floor + 18.0, "middle", "", &number(tick));
        }
        for tick in y.ticks() {
            text(LEFT - 8.0, down(tick) + 4.0, "end", "", &number(tick));
        }
        for (position, series) in (0..).zip(&self.series) {
            text(end + 36.0, TOP + 10.0 + 20.0 * f64::from(position), "start", "", &series.name);
        }
        for at in y.ticks().into_iter().map(down) {
            line(&mut svg, format_args!("<path d=\"M{LEFT} {at:.1}H{end}\" stroke=\"#ddd\"/>"));
        }
        line(
            &mut svg,
            format_args!("<path d=\"M{LEFT} {TOP}V{floor}H{end}\" fill=\"none\" stroke=\"#333\"/>"),
        );
        for (position, series) in self.series.iter().enumerate() {
            let colour = COLOURS[position % COLOURS.len()];
            let shown = |point: &&(f64, f64)| x.scale.shows(point.0) && y.scale.shows(point.1);
            let places: Vec<String> = series
                .points
                .iter()
                .filter(shown)
                .map(|point| format!("{:.1},{:.1}", right(point.0), down(point.1)))
                .collect();
            line(
                &mut svg,
                format_args!(
                    "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
                    places.join(" ")
                ),
            );
            for place in &places {
                let (x, y) = place.split_once(',').unwrap_or_default();
                line(
                    &mut svg,
                    format_args!("<circle cx=\"{x}\" cy=\"{y}\" r=\"3\" fill=\"{colour}\"/>"),
                );
            }
            let at = TOP + 6.0 + 20.0 * f64::from(u32::try_from(position).unwrap_or(0));
            line(
                &mut svg,
                format_args!(
                    "<path d=\"M{} {at}h24\" stroke=\"{colour}\" stroke-width=\"2\"/>",
                    end + 8.0
                ),
            );
        }
        svg.push_str("</svg>\n");
        svg
    }
}

fn line(svg: &mut String, arguments: std::fmt::Arguments<'_>) {
    writeln!(svg, "{arguments}").expect("a text takes what is written to it");
}

fn number(value: f64) -> String {
    // What 1, 2 and 5 times powers of ten are not, floating point made of them.
    let rounded = format!("{value:.4}");
    rounded.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plot(y: Scale, points: Vec<(f64, f64)>) -> Plot {
        Plot {
            title: "a < b & c".to_owned(),
            x: Axis { label: "load", scale: Scale::Linear },
            y: Axis { label: "ms", scale: y },
            series: vec![Series { name: "one".to_owned(), points }],
        }
    }

    #[test]
    fn what_an_axis_cannot_hold_is_left_out_and_nothing_at_all_is_still_a_picture() {
        for scale in [Scale::Linear, Scale::Logarithmic] {
            let svg = plot(scale, vec![]).to_svg();
            assert!(svg.ends_with("</svg>\n") && !svg.contains("NaN") && !svg.contains("inf"));
        }
        let wild = vec![(1.0, 0.0), (2.0, f64::NAN), (3.0, f64::INFINITY), (4.0, 5.0), (5.0, 50.0)];
        let svg = plot(Scale::Logarithmic, wild).to_svg();
        assert_eq!(svg.matches("<circle").count(), 2);
        assert!(!svg.contains("NaN") && !svg.contains("inf"));
    }

    #[test]
    fn text_can_not_break_the_picture() {
        assert!(plot(Scale::Linear, vec![]).to_svg().contains("a &lt; b &amp; c"));
    }

    #[test]
    fn larger_values_lie_further_and_within_the_frame() {
        for scale in [Scale::Linear, Scale::Logarithmic] {
            let range = Range::of(scale, [1.0, 10.0, 400.0].into_iter());
            let places = [1.0, 10.0, 400.0].map(|value| range.place(value));
            assert!(places.windows(2).all(|two| two[0] < two[1]), "{places:?}");
            assert!(places.iter().all(|place| (0.0..=1.0).contains(place)), "{places:?}");
            let ticks = range.ticks();
            assert!((3..=12).contains(&ticks.len()), "{ticks:?}");
        }
    }
}

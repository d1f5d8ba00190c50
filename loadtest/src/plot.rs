//! A line of measured points over one axis, as SVG: for a table that is easier seen than read. Drawn on a light ground of its
//! own, so that it reads on a dark page too.

use std::ops::Range;

use anyhow::anyhow;
use plotters::coord::ranged1d::{AsRangedCoord, ValueFormatter};
use plotters::element::DashedPathElement;
use plotters::prelude::*;

use crate::figures::{thousands, whole};

const SIZE: (u32, u32) = (900, 500);
const FONT: &str = "Helvetica, Arial, sans-serif";
const GROUND: RGBColor = RGBColor(255, 255, 255);
const INK: RGBColor = RGBColor(34, 34, 34);
const GRID: RGBColor = RGBColor(225, 225, 225);
const MEASURED: [RGBColor; 2] = [RGBColor(0, 90, 181), RGBColor(110, 110, 110)];
const GUIDES: [RGBColor; 2] = [RGBColor(200, 40, 30), RGBColor(110, 110, 110)];
const DASH: u32 = 8;
const DASH_GAP: u32 = 6;
/// Room above the highest point.
const HEADROOM: f64 = 1.2;

pub(crate) struct Plot {
    pub(crate) title: String,
    /// With their units.
    pub(crate) x_label: &'static str,
    pub(crate) y_label: &'static str,
    pub(crate) scale: Scale,
    /// What the points are, and the points in the order of their x; the first line is what the plot is about.
    pub(crate) measured: Vec<Measured>,
    /// Dashed lines to hold them against; two at most have a colour of their own.
    pub(crate) guides: Vec<Guide>,
}

/// What the points are, and the points.
pub(crate) type Measured = (&'static str, Vec<(f64, f64)>);

/// The horizontal axis. The vertical one always begins at 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scale {
    Logarithmic,
    FromZero,
    /// Whole numbers, each with its own mark.
    Whole,
}

/// A straight line from the first x to the last.
pub(crate) struct Guide {
    pub(crate) label: String,
    pub(crate) from_y: f64,
    pub(crate) to_y: f64,
}

impl Plot {
    /// The whole file.
    pub(crate) fn svg(&self) -> anyhow::Result<String> {
        let (first, last) = self.ends();
        match self.scale {
            Scale::Logarithmic => self.draw((first * 0.8..last * 1.25).log_scale(), 30),
            Scale::FromZero => self.draw(0.0..last * 1.05, 10),
            Scale::Whole => {
                let marks = usize::try_from(whole(last - first))? + 1;
                self.draw(first - 0.3..last + 0.3, marks)
            }
        }
    }

    fn ends(&self) -> (f64, f64) {
        let xs = || self.points().map(|(x, _)| x);
        (xs().fold(f64::INFINITY, f64::min), xs().fold(0.0, f64::max))
    }

    fn points(&self) -> impl Iterator<Item = (f64, f64)> {
        self.measured.iter().flat_map(|(_, points)| points.iter().copied())
    }

    /// What stands below a mark of the horizontal axis. Between powers of ten there is room for 2 and 5 only.
    fn mark(&self, x: f64) -> String {
        let text = thousands(whole(x));
        let is_told = self.scale != Scale::Logarithmic || text.starts_with(['1', '2', '5']);
        if is_told { text } else { String::new() }
    }

    fn heights(&self) -> Range<f64> {
        let guides = self.guides.iter().flat_map(|guide| [guide.from_y, guide.to_y]);
        let highest = self.points().map(|(_, y)| y).chain(guides).fold(0.0, f64::max);
        0.0..highest * HEADROOM
    }

    fn draw<X>(&self, xs: X, marks: usize) -> anyhow::Result<String>
    where
        X: AsRangedCoord<Value = f64>,
        X::CoordDescType: ValueFormatter<f64>,
    {
        let mut svg = String::new();
        self.draw_on(&SVGBackend::with_string(&mut svg, SIZE).into_drawing_area(), xs, marks)
            .map_err(|error| anyhow!("drawing `{}`: {error}", self.title))?;
        Ok(svg)
    }

    fn draw_on<'a, X>(
        &self,
        area: &DrawingArea<SVGBackend<'a>, plotters::coord::Shift>,
        xs: X,
        marks: usize,
    ) -> Result<(), Box<dyn std::error::Error + 'a>>
    where
        X: AsRangedCoord<Value = f64>,
        X::CoordDescType: ValueFormatter<f64>,
    {
        let text = |size: u32| (FONT, size).into_font().color(&INK);
        area.fill(&GROUND)?;
        let mut chart = ChartBuilder::on(area)
            .caption(&self.title, text(26))
            .margin(18)
            .x_label_area_size(60)
            .y_label_area_size(78)
            .build_cartesian_2d(xs, self.heights())?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(GROUND)
            .bold_line_style(GRID)
            .axis_style(INK)
            .x_labels(marks)
            .x_desc(self.x_label)
            .y_desc(self.y_label)
            .label_style(text(17))
            .axis_desc_style(text(19))
            .x_label_formatter(&|x| self.mark(*x))
            .y_label_formatter(&|y| short(*y))
            .draw()?;
        let (first, last) = self.ends();
        for (guide, colour) in self.guides.iter().zip(GUIDES.iter().cycle()) {
            let ends = [(first, guide.from_y), (last, guide.to_y)];
            let style = colour.stroke_width(2);
            chart
                .draw_series(DashedLineSeries::new(ends, DASH, DASH_GAP, style))?
                .label(&guide.label)
                .legend(move |(x, y)| DashedPathElement::new([(x, y), (x + 22, y)], DASH, DASH_GAP, style));
        }
        for ((label, points), colour) in self.measured.iter().zip(MEASURED.iter().cycle()) {
            let style = colour.stroke_width(3).filled();
            chart
                .draw_series(LineSeries::new(points.iter().copied(), style).point_size(5))?
                .label(*label)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 22, y)], style));
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::LowerRight)
            .margin(16)
            .label_font(text(17))
            .background_style(GROUND)
            .border_style(GRID)
            .draw()?;
        area.present()?;
        Ok(())
    }
}

/// A mark of the vertical axis.
fn short(value: f64) -> String {
    if value.fract().abs() < 1e-9 { thousands(whole(value)) } else { format!("{value:.1}") }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]
    use super::*;

    fn plot(scale: Scale) -> Plot {
        Plot {
            title: "Costs & more".to_owned(),
            x_label: "subscribers",
            y_label: "µs",
            scale,
            measured: vec![("node", vec![(1.0, 5.0), (2.0, 5.5), (4.0, 5.2)]), ("floor", vec![(1.0, 4.0)])],
            guides: vec![Guide { label: "aim".to_owned(), from_y: 5.5, to_y: 5.5 }],
        }
    }

    #[test]
    fn what_is_drawn_stands_in_the_file() {
        for scale in [Scale::Logarithmic, Scale::FromZero, Scale::Whole] {
            let svg = plot(scale).svg().unwrap();
            assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"), "{scale:?}");
            for expected in ["Costs &amp; more", "subscribers", "µs", "aim", "#005AB5"] {
                assert!(svg.contains(expected), "{expected} is not in the file of {scale:?}");
            }
            assert_eq!(svg.matches("<circle").count(), 4, "a point for each measurement");
        }
    }

    #[test]
    fn between_powers_of_ten_there_is_room_for_two_marks() {
        let told = |scale| (1..=10).map(|x| plot(scale).mark(f64::from(x))).filter(|text| !text.is_empty()).count();
        assert_eq!((told(Scale::Logarithmic), told(Scale::FromZero)), (4, 10));
    }

    #[test]
    fn marks_of_whole_numbers_have_no_fraction() {
        assert_eq!((short(2.0).as_str(), short(2.5).as_str(), short(60_000.0).as_str()), ("2", "2.5", "60,000"));
    }
}

//! Curves as SVG.

use std::path::Path;

use anyhow::anyhow;
use plotters::prelude::*;

/// Runs of one kind: a faint line each, and their mean.
pub struct Curves {
    /// What the legend calls them.
    pub name: String,
    /// The points of every run, all at the same places.
    pub runs: Vec<Vec<(f64, f64)>>,
}

const SIZE: (u32, u32) = (860, 460);
/// Told apart by those who cannot tell red from green, too (Okabe and Ito).
const COLORS: [RGBColor; 4] =
    [RGBColor(0, 114, 178), RGBColor(230, 159, 0), RGBColor(0, 158, 115), RGBColor(120, 120, 120)];

/// Draws curves over training steps to a file.
pub fn svg(path: &Path, title: &str, y: &str, curves: &[Curves]) -> anyhow::Result<()> {
    draw(path, title, y, curves).map_err(|e| anyhow!("{}: {e}", path.display()))
}

fn draw(
    path: &Path,
    title: &str,
    y: &str,
    curves: &[Curves],
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let points = || curves.iter().flat_map(|c| c.runs.iter().flatten());
    let last = points().map(|(x, _)| *x).fold(1.0, f64::max);
    let (low, high) = points().fold((0.0_f64, 0.0_f64), |(l, h), (_, y)| (l.min(*y), h.max(*y)));
    let root = SVGBackend::new(path, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .caption(title, ("sans-serif", 20))
        .margin(14)
        .x_label_area_size(40)
        .y_label_area_size(52)
        .build_cartesian_2d(0.0..1.01 * last, low..1.05 * high)?;
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .x_desc("training step")
        .x_label_formatter(&|step| format!("{step:.0}"))
        .y_desc(y)
        .draw()?;
    for (curves, color) in curves.iter().zip(COLORS.iter().cycle()) {
        for run in &curves.runs {
            chart.draw_series(LineSeries::new(run.iter().copied(), color.mix(0.22)))?;
        }
        let color = *color;
        chart
            .draw_series(LineSeries::new(mean(&curves.runs), color.stroke_width(3)))?
            .label(&curves.name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], color.stroke_width(3)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerRight)
        .background_style(WHITE.mix(0.85))
        .border_style(RGBColor(200, 200, 200))
        .draw()?;
    root.present()?;
    Ok(())
}

fn mean(runs: &[Vec<(f64, f64)>]) -> Vec<(f64, f64)> {
    let n = runs.iter().map(Vec::len).min().unwrap_or(0);
    let mean = |i: usize| runs.iter().map(|run| run[i].1).sum::<f64>() / runs.len() as f64;
    (0..n).map(|i| (runs[0][i].0, mean(i))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curves_become_a_picture() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("curves.svg");
        let curves = Curves {
            name: "first".into(),
            runs: vec![vec![(0.0, 0.1), (1.0, 0.5)], vec![(0.0, 0.3), (1.0, 0.7)]],
        };
        assert_eq!(mean(&curves.runs), [(0.0, 0.2), (1.0, 0.6)]);
        svg(&path, "title", "reward", &[curves]).unwrap();
        let drawn = std::fs::read_to_string(&path).unwrap();
        for expected in ["<svg", "title", "reward", "first", "training step"] {
            assert!(drawn.contains(expected), "{expected}");
        }
    }
}

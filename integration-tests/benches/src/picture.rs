//! The throughput as bars: a panel for each store, a group for each number of tasks, on a logarithmic scale.

use anyhow::{Result, anyhow};
use clap::ValueEnum;
use plotters::{
    coord::Shift,
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};

use crate::{
    report::{Summary, Throughput},
    servers::StoreKind,
};

const PANEL: (u32, u32) = (900, 320);

/// Draws the throughput as an SVG, if it was measured.
pub(crate) fn draw(summary: &Summary, path: &str) -> Result<()> {
    let panels: Vec<_> = StoreKind::value_variants()
        .iter()
        .map(|&store| (store, summary.throughput.iter().filter(|row| row.store == store).collect::<Vec<_>>()))
        .filter(|(_, rows)| !rows.is_empty())
        .collect();
    if panels.is_empty() {
        return Ok(());
    }
    let root = SVGBackend::new(path, (PANEL.0, PANEL.1 * panels.len() as u32)).into_drawing_area();
    let drawn = root.fill(&WHITE).map_err(|error| anyhow!("{error}"));
    drawn.and_then(|()| {
        let areas = root.split_evenly((panels.len(), 1));
        panels.iter().zip(&areas).try_for_each(|((store, rows), area)| panel(area, *store, rows))
    })?;
    root.present().map_err(|error| anyhow!("{error}"))
}

fn panel(area: &DrawingArea<SVGBackend<'_>, Shift>, store: StoreKind, rows: &[&Throughput]) -> Result<()> {
    let rates = || rows.iter().map(|row| row.median_pairs_per_second);
    let lowest = 10f64.powf(rates().fold(f64::MAX, f64::min).log10().floor());
    let highest = rates().fold(0.0, f64::max) * 2.0;
    let contenders: Vec<&str> = rows.iter().filter(|row| row.tasks == rows[0].tasks).map(|row| row.contender).collect();
    // A gap after each group.
    let place = |at: usize| (at + at / contenders.len()) as f64;
    let mut chart = ChartBuilder::on(area)
        .caption(format!("{}: acquire + release, pairs/s", store.name()), ("sans-serif", 18))
        .margin(10)
        .x_label_area_size(30)
        .y_label_area_size(70)
        .build_cartesian_2d(-0.5..place(rows.len()) + 3.0, (lowest..highest).log_scale())?;
    chart.configure_mesh().disable_x_mesh().disable_x_axis().y_labels(5).draw()?;
    for (nth, contender) in contenders.iter().enumerate() {
        let color = Palette99::pick(nth).to_rgba();
        let bars = rows.iter().enumerate().filter(|(_, row)| row.contender == *contender).map(|(at, row)| {
            let (left, right) = (place(at) - 0.45, place(at) + 0.45);
            Rectangle::new([(left, lowest), (right, row.median_pairs_per_second)], color.filled())
        });
        chart
            .draw_series(bars)?
            .label(*contender)
            .legend(move |(x, y)| Rectangle::new([(x, y - 5), (x + 12, y + 5)], color.filled()));
    }
    let middle = ("sans-serif", 13).into_font().into_text_style(area).pos(Pos::new(HPos::Center, VPos::Bottom));
    chart.draw_series(rows.iter().enumerate().map(|(at, row)| {
        let rate = format!("{:.0}", row.median_pairs_per_second);
        Text::new(rate, (place(at), row.median_pairs_per_second), middle.clone())
    }))?;
    let below = middle.pos(Pos::new(HPos::Center, VPos::Top));
    for (group, row) in rows.iter().step_by(contenders.len()).enumerate() {
        let center = place(group * contenders.len()) + (contenders.len() - 1) as f64 / 2.0;
        let (x, y) = chart.backend_coord(&(center, lowest));
        let tasks = format!("{} task{}", row.tasks, if row.tasks == 1 { "" } else { "s" });
        let (left, top) = area.get_base_pixel();
        area.draw_text(&tasks, &below, (x - left, y - top + 6))?;
    }
    chart.configure_series_labels().border_style(BLACK).background_style(WHITE).draw()?;
    Ok(())
}

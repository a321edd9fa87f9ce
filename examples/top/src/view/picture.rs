//! The picture of the guide: what is drawn, as SVG. `BLESS=1 cargo test -p top` draws it anew.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use gorums::{Configuration, NodeErrorKind};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::{Buffer, Cell};

use super::*;

const WIDTH: u16 = 130;
const HEIGHT: u16 = 6;
/// The size of a character.
const CELL: (f64, f64) = (7.8, 18.0);

fn color(cell: &Cell) -> &'static str {
    match cell.fg {
        Color::Green => "#7ee787",
        Color::Red => "#ff7b72",
        Color::Yellow => "#e3b341",
        Color::Cyan => "#76e3ea",
        _ => "#e6edf3",
    }
}

fn svg(buffer: &Buffer) -> String {
    let (width, height) = (f64::from(WIDTH) * CELL.0 + 20.0, f64::from(HEIGHT) * CELL.1 + 20.0);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" font-family=\"monospace\" \
         font-size=\"13\">\n<title>gorums top: three nodes, one of them unreachable</title>\n<rect width=\"100%\" height=\"100%\" rx=\"6\" fill=\"#0d1117\"/>\n"
    );
    for y in 0..HEIGHT {
        let mut x = 0;
        while x < WIDTH {
            // Word by word, so that columns stay columns whatever the font is.
            let fill = color(&buffer[(x, y)]);
            let belongs = |cell: &&Cell| color(cell) == fill && cell.symbol() != " ";
            let word: String =
                (x..WIDTH).map(|x| &buffer[(x, y)]).take_while(belongs).map(Cell::symbol).collect();
            let length = word.chars().count() as u16;
            if length > 0 {
                let (left, down) = (10.0 + f64::from(x) * CELL.0, 24.0 + f64::from(y) * CELL.1);
                let (wide, text) =
                    (f64::from(length) * CELL.0, word.replace('&', "&amp;").replace('<', "&lt;"));
                let _ = writeln!(
                    svg,
                    "<text x=\"{left:.1}\" y=\"{down:.1}\" fill=\"{fill}\" textLength=\"{wide:.1}\" \
                     lengthAdjust=\"spacingAndGlyphs\">{text}</text>"
                );
            }
            x += length.max(1);
        }
    }
    svg + "</svg>\n"
}

#[tokio::test]
async fn the_picture_of_the_guide_is_what_is_drawn() {
    let nodes = ["10.0.0.1:8080", "10.0.0.2:8080", "10.0.0.3:8080"];
    let configuration = Configuration::builder().nodes(nodes).connect_lazy().unwrap();
    let mut view = View::new(3);
    for step in 0..24_u64 {
        let mut stats = configuration.stats();
        stats.pending = 7;
        for (index, node) in stats.nodes.iter_mut().enumerate() {
            let (spread, base) = ((step * 7 + index as u64 * 5) % 11, 90 + 40 * index as u64);
            node.state = NodeState::Connected;
            node.stats.latency = Some(Duration::from_micros(base + spread * 9));
            node.stats.connections = 1;
        }
        if step > 15 {
            stats.nodes[2].state = NodeState::Unreachable;
            stats.nodes[2].last_error = Some(NodeErrorKind::ConnectionLost);
            (stats.nodes[2].stats.queue.queued, stats.nodes[2].stats.queue.queued_bytes) = (17, 2_120);
            stats.nodes[2].stats.queue.dropped = 12;
        }
        view.look(&stats);
    }
    let mut terminal = Terminal::new(TestBackend::new(WIDTH, HEIGHT)).unwrap();
    terminal.draw(|frame| view.draw(frame, frame.area())).unwrap();
    let drawn = svg(terminal.backend().buffer());
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/guide/src/pictures/top.svg");
    if std::env::var_os("BLESS").is_some() {
        fs::write(&path, &drawn).unwrap();
    }
    let kept = fs::read_to_string(&path).unwrap();
    assert_eq!(kept, drawn, "see what has changed, then: BLESS=1 cargo test -p top");
    configuration.close().await;
}

//! The few things that a chart is made of.

use std::fmt::Write as _;

/// Text that is safe inside an element or an attribute.
pub(super) fn escaped(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut safe, c| {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c if c.is_control() && c != '\n' => safe.push('\u{fffd}'),
            c => safe.push(c),
        }
        safe
    })
}

/// A chart of its own height, as wide as the page.
pub(super) struct Svg {
    body: String,
    pub(super) width: f64,
    pub(super) height: f64,
}

impl Svg {
    pub(super) fn new(width: f64, height: f64) -> Svg {
        Svg { body: String::new(), width, height }
    }

    /// `class` may be followed by a style, such as `dot" style="--of: red`.
    pub(super) fn line(&mut self, class: &str, (x1, y1): (f64, f64), (x2, y2): (f64, f64)) {
        self.push(format_args!(r#"<line class="{class}" x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}"/>"#));
    }

    pub(super) fn polyline(&mut self, style: &str, points: &[(f64, f64)]) {
        let points: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        self.push(format_args!(r#"<polyline class="line" style="{style}" points="{}"/>"#, points.join(" ")));
    }

    /// A dot that says what it is when it is pointed at.
    pub(super) fn dot(&mut self, style: &str, (x, y): (f64, f64), says: &str) {
        let says = escaped(says);
        self.push(format_args!(
            r#"<circle class="dot" style="{style}" cx="{x:.1}" cy="{y:.1}" r="4.5"><title>{says}</title></circle>"#
        ));
    }

    pub(super) fn bar(&mut self, class: &str, style: &str, (x, y): (f64, f64), (width, height): (f64, f64)) {
        self.push(format_args!(
            r#"<rect class="{class}" style="{style}" x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{height:.1}" rx="2"/>"#
        ));
    }

    /// `anchor`: `start`, `middle` or `end`.
    pub(super) fn text(&mut self, class: &str, anchor: &str, (x, y): (f64, f64), text: &str) {
        let text = escaped(text);
        self.push(format_args!(r#"<text class="{class}" text-anchor="{anchor}" x="{x:.1}" y="{y:.1}">{text}</text>"#));
    }

    fn push(&mut self, element: std::fmt::Arguments<'_>) {
        self.body.write_fmt(element).expect("a String takes any text");
        self.body.push('\n');
    }

    /// The element, described for those who cannot see it.
    pub(super) fn finish(self, label: &str) -> String {
        let Svg { body, width, height } = self;
        let label = escaped(label);
        format!(
            "<figure><svg viewBox=\"0 0 {width:.0} {height:.0}\" role=\"img\" aria-label=\"{label}\">\n{body}</svg></figure>\n"
        )
    }
}

/// Round numbers from zero to at least `most`: four to seven of them.
pub(super) fn ticks(most: f64) -> Vec<f64> {
    if !(most.is_finite() && most > 0.0) {
        return vec![0.0, 1.0];
    }
    let rough = most / 5.0;
    let power = 10.0_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 2.5, 5.0, 10.0].map(|n| n * power).into_iter().find(|step| *step >= rough * 0.999);
    let step = step.unwrap_or(power * 10.0);
    let count = (most / step * 0.999).ceil() as usize;
    (0..=count).map(|n| n as f64 * step).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_reach_the_top() {
        assert_eq!(ticks(43.0), [0.0, 10.0, 20.0, 30.0, 40.0, 50.0]);
        assert_eq!(ticks(1.0), [0.0, 0.2, 0.4, 0.6000000000000001, 0.8, 1.0]);
        assert_eq!(ticks(f64::NAN), [0.0, 1.0]);
        for most in [0.003, 0.7, 9.99, 10.0, 101.0, 12_345.0] {
            let ticks = ticks(most);
            assert!(*ticks.last().unwrap() >= most * 0.999 && (4..=8).contains(&ticks.len()), "{most}: {ticks:?}");
        }
    }

    #[test]
    fn text_stays_text() {
        assert_eq!(escaped("<script>\"a\" & 'b'\u{1b}"), "&lt;script&gt;&quot;a&quot; &amp; &#39;b&#39;\u{fffd}");
    }
}

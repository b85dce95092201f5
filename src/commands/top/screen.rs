//! The picture: is all well, then providers beside actors, then the latest requests. It fits into 80 columns and 24 lines, and fills more.

use jiff::Timestamp;
use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Row, Table, Widget};

use super::view::{Actor, Aggregate, Calls, Condition, Overview, Percentiles, Request, Seen};

/// Lines of conditions; where they are not enough, the last one says how many are missing.
const CONDITION_LINES: usize = 5;
/// Lines that requests keep for themselves, heading included.
const REQUESTS: u16 = 5;

const QUIET: Style = Style::new().add_modifier(Modifier::DIM);
const HEADING: Style = Style::new().add_modifier(Modifier::BOLD);
const GOOD: Style = Style::new().fg(Color::Green);
const DOUBTFUL: Style = Style::new().fg(Color::Yellow);
const BAD: Style = Style::new().fg(Color::Red);

/// All of it at this moment.
pub(super) struct Screen<'a> {
    pub(super) seen: &'a Seen,
    pub(super) now: Timestamp,
}

impl Widget for Screen<'_> {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        let Seen { at, snapshot, trouble } = self.seen;
        let Some(snapshot) = snapshot else { return };
        let overview = &snapshot.overview;
        let conditions = conditions(&overview.conditions, self.now, usize::from(area.width));
        let actors = actors(&overview.actors);
        let lines = u16::try_from(overview.providers.len().max(actors.len()) + 1).unwrap_or(u16::MAX);
        let [title, figures, troubles, _, middle, _, requests] = Layout::vertical([
            Constraint::Length(1),
            Constraint::Length(1),
            Constraint::Length(u16::try_from(conditions.len()).unwrap_or(u16::MAX)),
            Constraint::Length(1),
            Constraint::Max(lines),
            Constraint::Length(1),
            Constraint::Min(REQUESTS),
        ])
        .areas(area);
        self.title(at, overview, trouble.as_deref()).render(title, buffer);
        Line::from(figures_of(overview)).render(figures, buffer);
        for (line, area) in conditions.into_iter().zip(troubles.rows()) {
            line.render(area, buffer);
        }
        let [providers, _, tree] =
            Layout::horizontal([Constraint::Length(57), Constraint::Length(1), Constraint::Min(22)]).areas(middle);
        providers_of(overview).render(providers, buffer);
        let (left_out, height) = (overview.actors_left_out, tree.height);
        tree_of(actors, left_out, height).render(tree, buffer);
        match &snapshot.requests {
            Some(latest) => requests_of(latest).render(requests, buffer),
            None => Line::styled("the ledger cannot be read", BAD).render(requests, buffer),
        }
    }
}

impl Screen<'_> {
    fn title(&self, at: &str, overview: &Overview, trouble: Option<&str>) -> Line<'static> {
        let grave = overview.conditions.iter().filter(|condition| condition.severity != "notice").count();
        let is_recovering = overview.conditions.first().is_some_and(|worst| worst.severity == "recovering");
        let (how, style) = if is_recovering { ("recovering", DOUBTFUL) } else { ("not well", BAD) };
        let (verdict, style) = match (trouble, overview.well, grave) {
            (Some(trouble), _, _) => (format!("not reached: {trouble}"), BAD),
            (None, true, _) => ("all is well".to_owned(), GOOD),
            (None, false, 1) => (format!("one thing is {how}"), style),
            (None, false, count) => (format!("{count} things are {how}"), style),
        };
        let up = span(overview.uptime_seconds);
        Line::from(vec![
            Span::styled(format!("AiPipe {}", overview.version), HEADING),
            Span::raw(format!("  {at}  up {up}  ")),
            Span::styled(verdict, style.add_modifier(Modifier::BOLD)),
            Span::styled("  q quits", QUIET),
        ])
    }
}

fn figures_of(overview: &Overview) -> String {
    let Aggregate { requests, errors, cost_usd, latency_ms, ttft_ms } = &overview.metrics.total;
    format!(
        "open {}  asked {requests} ({errors} failed)  spent ${}  ms {}  first {}  tenants {}",
        overview.metrics.requests_under_way,
        money(cost_usd),
        middle_and_tail(latency_ms),
        middle_and_tail(ttft_ms),
        overview.tenants
    )
}

/// What is not well, the worst first: one line each, or two where it is grave and does not fit into one.
fn conditions(all: &[Condition], now: Timestamp, width: usize) -> Vec<Line<'static>> {
    let mut lines = Vec::new();
    for (place, condition) in all.iter().enumerate() {
        let (mark, style) = match condition.severity.as_str() {
            "critical" => ("!!", BAD),
            "warning" => ("! ", DOUBTFUL),
            "recovering" => ("~ ", DOUBTFUL),
            _ => ("  ", QUIET),
        };
        let age = condition.since.map(|since| (now.as_second() - since.as_second()).max(0).unsigned_abs());
        let age = age.map(|age| format!(" for {}", span(age))).unwrap_or_default();
        let what = format!("{mark} {}: {}{age}", condition.subject, condition.what);
        let rest = condition.advice.as_ref().unwrap_or(&condition.doing);
        let fits = condition.severity == "notice" || what.chars().count() + 2 + rest.chars().count() <= width;
        let shown = if fits {
            vec![Line::from(vec![Span::styled(what, style), Span::styled(format!("; {rest}"), QUIET)])]
        } else {
            vec![Line::styled(what, style), Line::styled(format!("   {rest}"), QUIET)]
        };
        let is_last = place + 1 == all.len();
        if lines.len() + shown.len() + usize::from(!is_last) > CONDITION_LINES {
            lines.push(Line::styled(format!("   and {} more", all.len() - place), QUIET));
            break;
        }
        lines.extend(shown);
    }
    lines
}

fn providers_of(overview: &Overview) -> Table<'static> {
    let rows = overview.providers.iter().map(|provider| {
        let (circuit, style) = match provider.circuit.as_deref() {
            Some("closed") => ("closed", GOOD),
            Some("half_open") => ("half", DOUBTFUL),
            Some("open") => ("OPEN", BAD),
            _ => ("off", QUIET),
        };
        let gathered = overview.metrics.providers.get(&provider.name).cloned().unwrap_or_default();
        let Calls { calls, failures, failures_last_minute } = provider.reach.unwrap_or_default();
        let failed = |count: u64| right(short(count)).style(if count > 0 { DOUBTFUL } else { Style::new() });
        Row::new([
            Span::raw(provider.name.clone()).into(),
            Span::styled(circuit, style).into(),
            right(provider.in_flight),
            right(provider.queue_depth),
            right(short(calls)),
            failed(failures),
            failed(failures_last_minute),
            right(percentile(&gathered.latency_ms, gathered.latency_ms.p95)),
            right(money(&gathered.cost_usd)),
        ])
    });
    let widths = [10, 6, 3, 4, 6, 4, 4, 5, 7].map(Constraint::Length);
    let heading = ["provider", "state"].map(Line::from).into_iter();
    let heading = heading.chain(["fly", "wait", "calls", "fail", "1min", "p95", "USD"].map(right));
    Table::new(rows, widths).header(Row::new(heading).style(HEADING))
}

/// An actor with its depth in the tree.
struct Branch<'a> {
    depth: usize,
    actor: &'a Actor,
}

/// All actors, from the root down.
fn actors(root: &Actor) -> Vec<Branch<'_>> {
    let mut open = vec![Branch { depth: 0, actor: root }];
    let mut all = Vec::new();
    while let Some(branch) = open.pop() {
        let depth = branch.depth + 1;
        open.extend(branch.actor.children.iter().rev().map(|actor| Branch { depth, actor }));
        all.push(branch);
    }
    all
}

/// As many actors as there is room for: of more, those first that failed or wait.
fn tree_of(mut all: Vec<Branch<'_>>, left_out: usize, height: u16) -> Table<'static> {
    let room = usize::from(height.saturating_sub(1));
    let is_well = |branch: &Branch<'_>| branch.actor.status == "running" && branch.actor.restarts == 0;
    let mut hidden = left_out;
    if all.len() > room || hidden > 0 {
        all.sort_by_key(is_well);
        hidden += all.len().saturating_sub(room.saturating_sub(1));
        all.truncate(room.saturating_sub(1));
    }
    let mut rows: Vec<Row<'static>> = all
        .iter()
        .map(|Branch { depth, actor }| {
            let style = match (actor.status.as_str(), actor.restarts) {
                ("running", 0) => Style::new(),
                ("running", _) => DOUBTFUL,
                _ => BAD,
            };
            // Its supervisor says what kind it is.
            let name = actor.name.split_once(':').map_or(&*actor.name, |(_, name)| name);
            let name = format!("{}{name}", " ".repeat(*depth));
            Row::new([Line::from(name), right(actor.restarts), right(actor.mailbox)]).style(style)
        })
        .collect();
    if hidden > 0 {
        rows.push(Row::new([Line::styled(format!(" and {hidden} more"), QUIET)]));
    }
    let widths = [Constraint::Min(12), Constraint::Length(4), Constraint::Length(4)];
    let heading = Row::new([Line::from("actor"), right("fell"), right("mail")]).style(HEADING);
    Table::new(rows, widths).header(heading)
}

fn requests_of(latest: &[Request]) -> Table<'static> {
    let rows = latest.iter().map(|request| {
        let style = match request.outcome.as_str() {
            "failed" | "truncated" | "unsettled" => BAD,
            "reserved" => DOUBTFUL,
            _ => Style::new(),
        };
        let outcome = match (request.outcome.as_str(), request.cache.as_str()) {
            ("reserved", _) => "under way",
            ("ok", "hit") => "cached",
            (outcome, _) => outcome,
        };
        let time = request.at.strftime("%H:%M:%S").to_string();
        Row::new([
            Line::from(time),
            Line::from(request.tenant.clone()),
            Line::from(format!("{}/{}", request.provider, request.model)),
            Line::from(outcome.to_owned()),
            right(request.attempts),
            right(request.latency_ms.map_or_else(|| "–".to_owned(), |ms| ms.to_string())),
            right(request.cost_usd.clone()),
        ])
        .style(style)
    });
    let widths = [
        Constraint::Length(8),
        Constraint::Length(10),
        Constraint::Min(24),
        Constraint::Length(9),
        Constraint::Length(3),
        Constraint::Length(6),
        Constraint::Length(12),
    ];
    let heading = ["UTC", "tenant", "provider/model", "outcome"].map(Line::from).into_iter();
    let heading = Row::new(heading.chain(["try", "ms", "USD"].map(right))).style(HEADING);
    Table::new(rows, widths).header(heading)
}

fn right(text: impl ToString) -> Line<'static> {
    Line::from(text.to_string()).right_aligned()
}

/// A count in at most four characters.
fn short(count: u64) -> String {
    match count {
        0..10_000 => count.to_string(),
        10_000..1_000_000 => format!("{}k", count / 1_000),
        _ => format!("{}M", count / 1_000_000),
    }
}

/// Cents and their hundredths, cut off; the exact figures stand in the ledger.
fn money(usd: &str) -> String {
    let (whole, rest) = usd.split_once('.').unwrap_or((usd, ""));
    format!("{}.{rest:0<4.4}", if whole.is_empty() { "0" } else { whole })
}

fn percentile(of: &Percentiles, value: u64) -> String {
    if of.samples == 0 { "–".to_owned() } else { value.to_string() }
}

/// The median and the 95th percentile.
fn middle_and_tail(of: &Percentiles) -> String {
    format!("{}/{}", percentile(of, of.p50), percentile(of, of.p95))
}

/// A length of time in its two largest units.
fn span(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min"),
        (0, _, _) => format!("{hours} h {} min", minutes % 60),
        _ => format!("{days} d {} h", hours % 24),
    }
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use serde_json::json;

    use super::*;

    /// A gateway in trouble, as it was recorded.
    const RECORDED: &str = include_str!("recorded.json");

    fn picture(width: u16, height: u16, snapshot: &str) -> String {
        let seen = Seen {
            at: "127.0.0.1:8082".into(),
            snapshot: Some(serde_json::from_str(snapshot).unwrap()),
            trouble: None,
        };
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        let now = "2026-11-26T21:40:00Z".parse().unwrap();
        terminal.draw(|frame| frame.render_widget(Screen { seen: &seen, now }, frame.area())).unwrap();
        terminal.backend().to_string()
    }

    #[test]
    fn a_small_terminal_shows_all_that_matters() {
        let picture = picture(80, 24, RECORDED);
        for shown in [
            "one thing is not well",
            "!! openai: circuit open because of unreachable for 4 min",
            "   requests go elsewhere;",
            "openai     OPEN     0    0      5    5    5     –  0.0000",
            "anthropic  closed   0    0      8    0    0   124  0.0011",
            "  openai        1",
            "anthropic/claude-haiku-4-5",
            "q quits",
        ] {
            assert!(picture.contains(shown), "{shown} is missing in\n{picture}");
        }
    }

    #[test]
    fn what_is_on_trial_is_no_all_is_well() {
        let mut trial: serde_json::Value = serde_json::from_str(RECORDED).unwrap();
        let condition = &mut trial["overview"]["conditions"][0];
        condition["severity"] = json!("recovering");
        condition["what"] = json!("on trial");
        let picture = picture(80, 24, &trial.to_string());
        for shown in ["one thing is recovering", "~  openai: on trial for 4 min"] {
            assert!(picture.contains(shown), "{shown} is missing in\n{picture}");
        }
    }

    #[test]
    fn any_size_is_drawn_and_a_large_one_shows_more() {
        for (width, height) in [(1, 1), (20, 5), (79, 10), (200, 60)] {
            picture(width, height, RECORDED);
        }
        let mut many: serde_json::Value = serde_json::from_str(RECORDED).unwrap();
        let tenants: Vec<_> = (0..40)
            .map(|n| json!({"name": format!("tenant:t{n}"), "status": "running", "restarts": u64::from(n == 39), "mailbox": 0}))
            .collect();
        let supervisors = many["overview"]["actors"]["children"].as_array_mut().unwrap();
        let supervisor = supervisors.iter_mut().find(|actor| actor["name"] == "tenants").unwrap();
        supervisor["children"] = json!(tenants);
        let (small, large) = (picture(80, 24, &many.to_string()), picture(120, 70, &many.to_string()));
        // What fell is shown where not all are.
        assert!(small.contains("  t39 ") && small.contains("more"), "{small}");
        assert!(large.contains("  t0 ") && large.contains("  t38 "), "{large}");
    }
}

//! The complexity score as a request meets it: a chat body is scanned, its ask measured, and the shipped weights judge it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::io::{BufRead, BufReader, BufWriter, Write};
use std::sync::LazyLock;

use aipipe::config::shipped_weights;
use aipipe::dialects::openai_chat::scan::scan;
use aipipe_actors::routing::complexity::{Assessment, Weights, assess};
use aipipe_actors::routing::decision::Basis;
use aipipe_actors::routing::signals::{Features, Measure};
use serde_json::{Value, json};

/// A chat body of a row: its messages, and as many tools as it declares.
fn body(row: &Value) -> Vec<u8> {
    let mut body = json!({"model": "auto", "messages": row["messages"]});
    if row["tool_defs"].is_array() {
        body["tools"] = row["tool_defs"].clone();
    } else if row["tools"] == true {
        body["tools"] = json!([{"type": "function", "function": {"name": "tool", "parameters": {"type": "object"}}}]);
    }
    serde_json::to_vec(&body).unwrap()
}

fn judge(row: &Value) -> (Features, Assessment) {
    let body = body(row);
    let features = Features::measure(&scan(&body).unwrap().found.ask().view());
    static WEIGHTS: LazyLock<Weights> = LazyLock::new(shipped_weights);
    let assessed = assess(&features, &WEIGHTS, 0.1);
    (features, assessed)
}

/// The shipped complexity of a conversation in which only the user speaks.
fn complexity(turns: &[&str]) -> f64 {
    let messages: Vec<_> = turns.iter().map(|text| json!({"role": "user", "content": text})).collect();
    judge(&json!({ "messages": messages })).1.complexity.get()
}

const EASY: [&str; 14] = [
    "hello, are you there?",
    "What is the capital of Chile?",
    "who painted the ceiling of the chapel",
    "Translate into French: The bus is late.",
    "Fix the spelling: I recieved you're letter",
    "what is 17 plus 5",
    "Wie heißt die Hauptstadt von Kanada?",
    "¿Quién pintó Las Meninas?",
    "Bonsoir, comment ça va ?",
    "Спасибо большое!",
    "日本の首都はどこ？",
    "法国的首都是哪里？",
    "شكرا لك",
    "오늘 무슨 요일이야?",
];

const HARD: [&str; 14] = [
    "Prove that a compact subset of a Hausdorff space is closed.",
    "Why does the condensate lose phase coherence when the lattice deepens, and what does the spectrum then show?",
    "Two transactions read the same row and both commit: which isolation level allows it and how do you prove that it cannot happen?",
    "Our actor mailbox deadlocks under load. Find the cycle, prove it and redesign the ownership without a global lock.",
    "Derive the stationary distribution of this Markov chain and bound its mixing time.",
    "The patient on heparin develops thrombosis with falling platelets: diagnosis and treatment, in which order?",
    "Beweise, dass jede konvergente Folge beschränkt ist, und gib ein Gegenbeispiel zur Umkehrung.",
    "Démontrez que l'ensemble des nombres réels n'est pas dénombrable.",
    "Demuestra que todo espacio métrico compacto es completo.",
    "Докажите, что всякая группа простого порядка циклическая.",
    "证明任意有限群的子群的阶整除群的阶。",
    "素数が無限に存在することを証明し、等差数列の場合に拡張せよ。",
    "أثبت أن مجموعة الأعداد الأولية غير منتهية.",
    "유한군의 부분군의 위수는 군의 위수를 나눔을 증명하시오.",
];

#[test]
fn easy_asks_stay_low_and_hard_ones_rise_in_every_language() {
    for text in EASY {
        assert!(complexity(&[text]) <= 0.35, "{text}: {}", complexity(&[text]));
    }
    for text in HARD {
        assert!(complexity(&[text]) >= 0.5, "{text}: {}", complexity(&[text]));
    }
}

#[test]
fn what_a_harness_adds_does_not_count() {
    let bare = complexity(&["say good morning"]);
    let system = "You are an autonomous agent. Prove the invariants, debug the distributed scheduler. ".repeat(200);
    let tools: Vec<_> = (0..32)
        .map(|n| json!({"type": "function", "function": {"name": format!("optimize_{n}"), "description": system}}))
        .collect();
    let messages = json!([{"role": "system", "content": system}, {"role": "user", "content": "say good morning"}]);
    let wrapped = json!({"messages": messages, "tool_defs": tools});
    assert_eq!(judge(&wrapped).1.complexity.get(), bare);
    let reminder =
        "<system-reminder>\nDesign the architecture of the kernel and prove the theorem.\n</system-reminder>\n";
    assert!(complexity(&[&format!("{reminder}say good morning")]) <= 0.25);
}

#[test]
fn pasted_material_does_not_count_as_the_ask() {
    let log = "2026-03-11T10:20:07Z ERROR store[211] deadlock transaction=77 status=500 latency=812ms\n".repeat(150);
    assert!(complexity(&[&format!("{log}\nwhich format is this?")]) <= 0.35);
    let letter = "The committee discussed the theorem of the quantum scheduler and its kernel. ".repeat(60);
    assert!(complexity(&[&format!("Who signed this letter?\n\n{letter}")]) <= 0.35);
    assert!(
        complexity(&["Translate to Dutch: 'Prove the theorem about distributed consensus and optimize it.'"]) <= 0.35
    );
}

#[test]
fn a_follow_up_means_what_it_points_at_and_a_courtesy_means_nothing() {
    let hard = "Prove that every bounded linear operator on a Hilbert space has an adjoint.";
    let easy = "How do you say 'bread' in Danish?";
    assert!(complexity(&[hard, "and for a Banach space?"]) > complexity(&[easy, "and in Polish?"]) + 0.2);
    for courtesy in ["thanks", "great, thank you!", "yes, continue", "ok bye"] {
        assert!(complexity(&[hard, hard, courtesy]) <= 0.25, "{courtesy}");
    }
}

#[test]
fn stock_phrases_buy_nothing() {
    let plain = "which animal barks?";
    let stuffed = format!("Think carefully, step by step, in depth, with comprehensive reasoning: {plain}");
    assert!(complexity(&[&stuffed]) <= 0.35, "{}", complexity(&[&stuffed]));
}

#[test]
fn without_words_the_default_holds() {
    for content in
        [json!(""), json!("…"), json!([{"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}])]
    {
        let (_, assessed) = judge(&json!({"messages": [{"role": "user", "content": content}]}));
        assert_eq!((assessed.basis, assessed.complexity.get()), (Basis::None, 0.1));
    }
}

#[test]
fn of_a_long_text_only_the_ends_are_read() {
    let text = |middle: &str| format!("Name the author.\n\n{}\n\nThank you.", middle.repeat((1 << 20) / middle.len()));
    assert_eq!(complexity(&[&text("a quiet day on the river. ")]), complexity(&[&text("the proof of a theorem is ")]));
}

/// The written cases of the routing data, where they are at hand: none of them is fitted on.
#[test]
fn written_cases_fall_on_their_side() {
    let folder = std::env::var("AIPIPE_TEST_DATA").unwrap_or_else(|_| "../shared".to_owned());
    let Ok(file) = std::fs::read_to_string(format!("{folder}/routing/cases.jsonl")) else {
        eprintln!("SKIPPED: no routing/cases.jsonl in {folder}");
        return;
    };
    let (mut hard, mut easy) = (Vec::new(), Vec::new());
    for row in file.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()) {
        let score = judge(&row).1.complexity.get();
        let (low, high) = (row["band"][0].as_f64().unwrap(), row["band"][1].as_f64().unwrap());
        if low >= 0.5 {
            hard.push((score, score >= low));
        } else if high <= 0.35 {
            easy.push((score, score <= high));
        }
    }
    let won: usize = hard.iter().map(|(score, _)| easy.iter().filter(|(other, _)| score > other).count()).sum();
    let share =
        |scores: &[(f64, bool)]| scores.iter().filter(|(_, inside)| *inside).count() as f64 / scores.len() as f64;
    assert!(won as f64 >= 0.9 * (hard.len() * easy.len()) as f64, "{won} of {} pairs", hard.len() * easy.len());
    assert!(share(&hard) >= 0.7, "hard ones in their band: {}", share(&hard));
    assert!(share(&easy) >= 0.9, "easy ones in their band: {}", share(&easy));
}

/// Writes what is counted of the prompts of a file: how `scripts/fit-scorer` sees them.
#[test]
#[ignore = "a step of scripts/fit-scorer, which names the files"]
fn measures_a_file() {
    let prompts = std::env::var("AIPIPE_SCORER_PROMPTS").unwrap();
    let measured = std::env::var("AIPIPE_SCORER_MEASURED").unwrap();
    let mut out = BufWriter::new(std::fs::File::create(measured).unwrap());
    for line in BufReader::new(std::fs::File::open(prompts).unwrap()).lines() {
        let row: Value = serde_json::from_str(&line.unwrap()).unwrap();
        let (features, assessed) = judge(&row);
        let counts: serde_json::Map<String, Value> =
            Measure::all().map(|measure| (measure.name().to_owned(), features.get(measure).into())).collect();
        let complexity = assessed.complexity.get();
        let line = json!({
            "id": row["id"], "counts": counts, "signals": assessed.signals, "buckets": features.bag().buckets(), "complexity": complexity,
        });
        writeln!(out, "{line}").unwrap();
    }
}

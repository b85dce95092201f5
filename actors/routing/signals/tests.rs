use super::*;

fn measured(text: &str) -> Features {
    Features::measure(&AskView { current: text, user_turns: 1, ..AskView::default() })
}

#[test]
fn words_are_known_by_their_stem_in_any_spelling() {
    for (text, measure) in [
        ("polynomials", Measure::Maths),
        ("Démontrez", Measure::Prove),
        ("demontrez", Measure::Prove),
        ("доказательство", Measure::Prove),
        ("证明", Measure::Prove),
        ("증명하시오", Measure::Prove),
        ("البرهان", Measure::Prove),
        ("सिद्ध कीजिए", Measure::Prove),
        ("chứng minh", Measure::Prove),
        ("Thanks", Measure::Greeting),
    ] {
        assert!(measured(text).get(measure) > 0, "{text}: {measure:?}");
    }
}

#[test]
fn code_and_logs_are_told_from_the_ask() {
    let features = measured("Why is this slow?\n```\nfor x in items:\n    prove(x)\n```\n");
    assert_eq!((features.get(Measure::Words), features.get(Measure::CodeLines)), (4, 2));
    assert_eq!((features.get(Measure::Prove), features.get(Measure::Branches)), (0, 2));
    let log = measured("2026-01-02T03:04:05Z INFO api[12] op=88 status=200 took=3ms proof=7\nwhat is it?");
    assert_eq!((log.get(Measure::LogLines), log.get(Measure::Words)), (1, 3));
}

#[test]
fn quotations_and_text_to_be_reworked_are_material() {
    for text in [
        "Say \u{201c}prove the theorem\u{201d}",
        "Say 'prove the theorem'",
        "Translate: prove the theorem",
        "Shorten this:\nprove the theorem\nand the lemma",
    ] {
        let features = measured(text);
        assert_eq!(features.get(Measure::Prove) + features.get(Measure::Maths), 0, "{text}");
        assert!(features.get(Measure::Material) > 0, "{text}");
    }
    assert_eq!(measured("I don't know Euler's theorem").get(Measure::Material), 0);
}

#[test]
fn a_wrapper_of_a_harness_is_material_and_the_task_in_it_is_not() {
    let wrapped = "<environment_details>\nprove the theorem\n</environment_details>\n<task>\nsay hello\n</task>";
    let features = measured(wrapped);
    assert_eq!((features.get(Measure::Prove), features.get(Measure::Greeting)), (0, 1));
    assert!(measured("<b>\nprove the theorem").get(Measure::Prove) > 0, "what nothing closes is no wrapper");
}

#[test]
fn earlier_turns_are_read_only_where_the_ask_points_back() {
    let after = |current| {
        let earlier = ["Prove the theorem.", ""];
        Features::measure(&AskView { current, earlier, user_turns: 2, ..AskView::default() })
    };
    for (current, turns) in
        [("now the same for rings", 1), ("thanks!", 0), ("Who was the first king of Norway to be crowned?", 0)]
    {
        assert_eq!(after(current).get(Measure::Refers), turns, "{current}");
    }
}

#[test]
fn a_bag_knows_words_and_neighbours_of_the_ask_and_not_of_what_it_brings_along() {
    let bag = |text: &str| measured(text).bag().clone();
    assert_eq!(bag("Is the prime odd?"), bag("is THE prime, odd"));
    let (one, other) = (bag("dog bites man"), bag("man bites dog"));
    assert_eq!((one.buckets().len(), other.buckets().len()), (5, 5));
    assert!(!one.holds(&other) && one.holds(&bag("dog")) && one.holds(&bag("bites man")));
    assert_eq!(bag("Translate: prove the theorem"), bag("Translate:"));
    let code = |lines: usize| {
        let lines: String = (0..lines).map(|n| format!("{}_x = {};\n", "abc".repeat(n % 40), n)).collect();
        bag(&format!("Explain.\n```\n{lines}```\n")).buckets().len()
    };
    assert!(code(20) > 20);
    assert_eq!(code(10_000), code(1_000), "of code only the beginning is read");
}

#[test]
fn what_an_ask_points_back_to_is_in_its_bag() {
    let earlier = ["Prove the theorem.", ""];
    let features =
        Features::measure(&AskView { current: "now the same for rings", earlier, user_turns: 2, ..AskView::default() });
    assert!(features.bag().holds(measured("Prove the theorem").bag()));
    assert!(features.bag().holds(measured("for rings").bag()));
}

#[test]
fn signals_are_shares_for_any_text() {
    for text in ["", "\u{1F600}", "a;\n", "(((", "'\"'\"", "x\u{301}", "\u{202e}abc", "____", "、。「」"] {
        let signals = Signals::from(&measured(&text.repeat(20_000)));
        for signal in [signals.length, signals.code, signals.keywords, signals.structure, signals.depth] {
            assert!((0.0..=1.0).contains(&signal), "{text:?}: {signals:?}");
        }
    }
}

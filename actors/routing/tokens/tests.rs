//! The estimate against counts of the real tokenizer, and what must hold for any text.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use proptest::prelude::*;

use super::Estimator;
use super::scan::scaled_tokens;

/// Texts and their number of o200k_base tokens.
#[rustfmt::skip]
const TEXTS: &[(&str, u64, &str)] = &[
    ("English prose", 93, "Our payment service accepts a request, writes it to a queue and answers at once. A worker then takes the job, calls the bank and records the result. Twice last month a job ran two times because the worker died after the call but before the record was written. We'd like a design in which that can't happen, even when the primary fails over. Please list the tables, the keys and the order of the writes, and say what each of them prevents."),
    ("Rust", 80, "impl Cache {\n    pub fn get(&mut self, key: &str, now: Instant) -> Option<Bytes> {\n        let entry = self.map.get_mut(key)?;\n        if now.duration_since(entry.stored_at) > self.ttl {\n            self.map.remove(key);\n            return None;\n        }\n        entry.hits += 1;\n        Some(entry.body.clone())\n    }\n}\n"),
    ("a tool's schema", 63, "{\"type\":\"function\",\"function\":{\"name\":\"get_weather\",\"description\":\"Current weather of a city.\",\"parameters\":{\"type\":\"object\",\"properties\":{\"city\":{\"type\":\"string\",\"description\":\"City and country\"},\"unit\":{\"type\":\"string\",\"enum\":[\"celsius\",\"fahrenheit\"]}},\"required\":[\"city\"]}}}"),
    ("a log", 73, "2026-11-05T18:54:51Z INFO db[220] request id=7ed4d57b status=500 latency=485ms retry=3\n2026-11-07T03:31:01Z ERROR cache[722] request id=c324c985 status=200 latency=714ms retry=3\n"),
    ("German", 101, "Erkläre bitte, wie ein Index in einer Datenbank funktioniert und warum Abfragen langsamer werden, wenn die Tabelle wächst. Unser System verarbeitet täglich Millionen von Anfragen, deshalb brauchen wir eine Lösung, die auch unter hoher Last stabil bleibt. Beweise, dass die Summe der Winkel im Dreieck hundertachtzig Grad beträgt. Heute ist schönes Wetter, und ich möchte mit meinen Freunden im Park spazieren gehen. Vielen Dank für die Hilfe, die Antwort war sehr verständlich und nützlich."),
    ("Russian", 117, "Объясните, пожалуйста, как работают индексы в базе данных и почему запросы становятся медленнее, когда таблица растёт. Наша система каждый день обрабатывает миллионы запросов, поэтому нам нужно решение, которое остаётся устойчивым при высокой нагрузке. Докажите, что сумма углов треугольника равна ста восьмидесяти градусам. Сегодня хорошая погода, и я хочу пойти гулять в парк вместе с друзьями. Большое спасибо за помощь, ответ был очень понятным и полезным."),
    ("Chinese", 127, "请解释一下数据库索引是如何工作的，以及为什么当表变得很大时查询速度会变慢。我们的系统每天要处理几百万个请求，所以需要一个能够在高并发情况下保持稳定的方案。证明任意一个有限域的元素个数都是某个素数的幂，并说明这个结论为什么重要。今天天气很好，我想去公园散步，然后和朋友一起吃晚饭。谢谢你的帮助，这个回答非常清楚，对我很有用。请把下面的句子翻译成英文，并且改正其中的语法错误。"),
    ("Japanese", 140, "データベースの索引がどのように動くのか、そして表が大きくなるとなぜ検索が遅くなるのかを説明してください。私たちのシステムは毎日何百万もの要求を処理しているので、負荷が高い時でも安定して動く仕組みが必要です。次の文を英語に翻訳して、文法の間違いがあれば直してください。今日は天気がとても良いので、友達と一緒に公園へ散歩に行こうと思っています。丁寧に教えていただき、本当にありがとうございました。"),
    ("Korean", 112, "데이터베이스 색인이 어떻게 동작하는지, 그리고 테이블이 커지면 왜 조회가 느려지는지 설명해 주세요. 우리 시스템은 매일 수백만 건의 요청을 처리하기 때문에 부하가 높을 때에도 안정적으로 동작하는 구조가 필요합니다. 다음 문장을 영어로 번역하고 문법 오류가 있으면 고쳐 주세요. 오늘은 날씨가 정말 좋아서 친구와 함께 공원에 산책하러 가려고 합니다. 친절하게 알려 주셔서 정말 감사합니다."),
    ("Arabic", 121, "تعد اللغة العربية من أكثر اللغات انتشارا في العالم، ويتحدث بها مئات الملايين من الناس في بلدان كثيرة. عند كتابة برنامج حاسوبي يجب أن نفهم المشكلة أولا ثم نختار الخوارزمية المناسبة لحلها. هل يمكنك أن تشرح لي كيف تعمل قواعد البيانات ولماذا نحتاج إلى الفهارس عندما يزداد حجم الجداول؟ أريد أن أعرف الفرق بين الطريقتين وأيهما أسرع في الاستعلامات الكبيرة. شكرا جزيلا على المساعدة، لقد كانت الإجابة واضحة ومفيدة جدا بالنسبة لي."),
    ("Hindi", 107, "भारत एक विशाल देश है जहाँ अनेक भाषाएँ बोली जाती हैं और हर राज्य की अपनी संस्कृति है। जब हम कोई प्रोग्राम लिखते हैं तो पहले समस्या को समझना आवश्यक होता है, फिर उचित तरीका चुना जाता है। क्या आप मुझे बता सकते हैं कि डेटाबेस कैसे काम करता है और तालिका बड़ी होने पर सूचकांक की आवश्यकता क्यों पड़ती है? मुझे इन दोनों तरीकों के बीच का अंतर जानना है। आपकी सहायता के लिए बहुत बहुत धन्यवाद, उत्तर बहुत स्पष्ट और उपयोगी था।"),
];

fn tokens(text: &str) -> u64 {
    let mut estimator = Estimator::default();
    estimator.text(text);
    estimator.tokens()
}

/// `text` as it stands in a JSON body.
fn escaped(text: &str) -> String {
    serde_json::to_string(text).unwrap().trim_matches('"').to_owned()
}

fn ascii_escaped(text: &str) -> String {
    text.encode_utf16()
        .map(
            |unit| {
                if (0x20..0x7f).contains(&unit) { char::from(unit as u8).to_string() } else { format!("\\u{unit:04x}") }
            },
        )
        .collect()
}

#[test]
fn texts_are_estimated_within_fifteen_per_cent() {
    for (kind, real, text) in TEXTS {
        let error = tokens(text) as f64 / *real as f64 - 1.0;
        assert!(error.abs() < 0.15, "{kind}: {} estimated, {real} real", tokens(text));
    }
}

#[test]
fn escapes_count_as_what_they_stand_for() {
    for (kind, _, text) in TEXTS {
        let plain = tokens(text) as f64;
        assert!(
            (tokens(&escaped(text)) as f64 / plain - 1.0).abs() < 0.02,
            "{kind}: {} escaped, {plain} plain",
            tokens(&escaped(text))
        );
    }
    for text in ["证明存在无穷多个素数", "Докажите, что тело коммутативно", "naïve café"]
    {
        assert_eq!(tokens(&ascii_escaped(text)), tokens(text), "{text}");
    }
    assert_eq!(tokens(r"\ud83d\ude00"), tokens("😀"));
}

#[test]
fn nothing_costs_nothing() {
    assert_eq!(Estimator::default().tokens(), 0);
    assert_eq!(tokens(""), 0);
}

#[test]
fn broken_escapes_are_text() {
    for text in [r"\", r"\u", r"\u12", r"\ud83d", r"\ud83d\u", r"\ud83d\u0041", r"\q", r"C:\dir"] {
        assert!((1..=text.len() as u64).contains(&tokens(text)), "{text}");
    }
}

#[test]
fn frames_and_attachments_are_counted_in_both_measures() {
    let mut estimator = Estimator::default();
    estimator.message();
    assert_eq!((estimator.tokens(), estimator.upper_bound()), (4, 16));
    estimator.attachment();
    assert_eq!((estimator.tokens(), estimator.upper_bound()), (1_004, 6_016));
}

proptest! {
    #[test]
    fn the_bound_is_never_below_the_estimate(text in ".{0,200}") {
        let mut estimator = Estimator::default();
        estimator.text(&text);
        prop_assert!(estimator.tokens() <= estimator.upper_bound());
        prop_assert_eq!(estimator.upper_bound(), text.len() as u64);
    }

    /// Words are cut by whole registers, escapes character by character: both must count alike.
    #[test]
    fn a_word_costs_the_same_however_it_is_written(text in "([{`@\\[]?[a-zA-Z0-9 ]{1,12}){0,5}") {
        let escaped: String = text.bytes().map(|byte| format!("\\u{byte:04x}")).collect();
        prop_assert_eq!(scaled_tokens(escaped.as_bytes()), scaled_tokens(text.as_bytes()));
    }

    /// A cut moves the estimate by no more than what stands at the cut.
    #[test]
    fn pieces_add_up(left in "[a-z A-Z0-9.,é中\\n]{0,80}", right in "[a-z A-Z0-9.,é中\\n]{0,80}") {
        let mut pieces = Estimator::default();
        pieces.text(&left);
        pieces.text(&right);
        let whole = tokens(&format!("{left}{right}"));
        prop_assert!(pieces.tokens().abs_diff(whole) <= 24, "{} in pieces, {whole} whole", pieces.tokens());
    }

    /// A joint counts its space otherwise than the text's end does (one token at most), and one text alone is rounded up to a whole token.
    #[test]
    fn a_repeated_text_costs_its_multiple(text in "[a-z]{1,8}( [a-z]{1,8}){3,10}\\. ", times in 2_usize..20) {
        let once = tokens(&text) as f64;
        let many = tokens(&text.repeat(times)) as f64;
        prop_assert!((many - once * times as f64).abs() <= 2.0 * times as f64, "{many} for {times} times {once}");
    }
}

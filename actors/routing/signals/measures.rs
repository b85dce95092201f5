//! What is counted of a request, by name.

macro_rules! measures {
    ($($(#[$documentation:meta])* $variant:ident = $name:literal,)*) => {
        /// One thing that is counted. The names are those of the weights' file.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Measure {
            $($(#[$documentation])* $variant,)*
        }

        impl Measure {
            const ALL: &[Self] = &[$(Self::$variant),*];

            /// Its name, in snake case.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

measures! {
    /// Words of the ask itself; two characters of a script without spaces are one.
    Words = "words",
    /// Words that are only brought along: pasted documents, quotations, text to be reworked.
    Material = "material",
    /// Sentences.
    Sentences = "sentences",
    /// Question marks.
    Questions = "questions",
    /// Words of eight letters and more.
    LongWords = "long_words",
    /// Words of twelve letters and more.
    VeryLongWords = "very_long_words",
    /// Mean letters of a word, in hundredths.
    WordLength = "word_length",
    /// Different words, in thousandths of all.
    Distinct = "distinct",
    /// Numbers.
    Numbers = "numbers",
    /// Mathematical symbols.
    Symbols = "symbols",
    /// Words with a capital within a sentence.
    Names = "names",
    /// Commas, colons, semicolons and brackets.
    Clauses = "clauses",
    /// Words of the longest sentence.
    LongestSentence = "longest_sentence",
    /// Lettered options of an exam question.
    Options = "options",
    /// Items of lists.
    Items = "items",
    /// Lines of code.
    CodeLines = "code_lines",
    /// Lines of code that branch or repeat.
    Branches = "branches",
    /// Deepest indentation of code, in steps of two spaces.
    Nesting = "nesting",
    /// Words that look like names in a program.
    Identifiers = "identifiers",
    /// Lines of logs and tables.
    LogLines = "log_lines",
    /// Letters outside the Latin script, in thousandths of all.
    OtherScript = "other_script",
    /// Blanks to fill in.
    Blanks = "blanks",
    /// Words without meaning of their own.
    Common = "common",
    /// Question words that a name, a date or a place answers.
    Factual = "factual",
    /// Words of everyday life.
    Everyday = "everyday",
    /// Greetings, thanks, assent.
    Greeting = "greeting",
    /// Words that ask to translate, correct or rephrase.
    Rework = "rework",
    /// Words that ask to pick out, list or summarise.
    Extract = "extract",
    /// Words of simple questions of fact.
    Lookup = "lookup",
    /// Words that ask for a proof or derivation.
    Prove = "prove",
    /// Words that ask for causes, comparison or judgement.
    Reason = "reason",
    /// Words that ask to design or build.
    Design = "design",
    /// Words about faults.
    Fault = "fault",
    /// Terms of mathematics.
    Maths = "maths",
    /// Terms of the natural sciences.
    Science = "science",
    /// Terms of medicine.
    Medicine = "medicine",
    /// Terms of law and finance.
    Law = "law",
    /// Terms of computer systems.
    Systems = "systems",
    /// Words of everyday programming.
    Programming = "programming",
    /// Words of logic puzzles.
    Puzzle = "puzzle",
    /// Words of arithmetic in prose.
    Quantity = "quantity",
    /// Conditions and negations.
    Condition = "condition",
    /// Words that ask for prose, verse, plans.
    Writing = "writing",
    /// Stock phrases that ask for care.
    Stock = "stock",
    /// Words that ask for little.
    Light = "light",
    /// Words that point back.
    Reference = "reference",
    /// Words that are neither known nor everyday, but for names.
    Rare = "rare",
    /// Those of ten letters and more.
    RareLong = "rare_long",
    /// Words with the endings of abstract nouns and learned adjectives.
    Learned = "learned",
    /// Abbreviations and formal notation.
    Notation = "notation",
    /// Sentences that ask whether something holds.
    Whether = "whether",
    /// Sentences that ask how or why something comes about.
    Mechanism = "mechanism",
    /// Whether earlier turns were read, since the ask points back to them: how many.
    Refers = "refers",
    /// User turns before the ask.
    Turns = "turns",
    /// Tool results since the ask.
    ToolResults = "tool_results",
    /// Tools declared.
    Tools = "tools",
    /// 1 where the answer must follow a schema.
    Structured = "structured",
    /// Attachments beside the text.
    Attachments = "attachments",
}

impl Measure {
    /// How many there are.
    pub const COUNT: usize = Self::ALL.len();

    /// Whether it counts words that the lexicon knows.
    pub fn is_of_words(self) -> bool {
        (Self::Common as u8..=Self::Reference as u8).contains(&(self as u8))
    }

    /// All of them, in their order.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::ALL.iter().copied()
    }

    /// The measure of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::all().find(|measure| measure.name() == name)
    }
}

"""Short labelled asks, made of the templates of asks.txt: what outcomes of exams cannot teach."""

import random
import re
from pathlib import Path


def document(rng):
    """Prose to extract from: harmless sentences, a name, numbers."""
    who = rng.choice(["Ann Miller", "Harald Olsen", "Rosa Diaz", "Green Valley Ltd"])
    parts = [f"Dear Sir or Madam, this is {who} about order {rng.randrange(1000, 9999)} of {rng.randrange(1, 28)} April."]
    stock = [
        "The parcel arrived late and the box was damaged.",
        "I called twice and nobody could help me with it.",
        "The lamp does not work and one cable is missing.",
        "We would like a refund or a replacement within two weeks.",
        "The garden was full of people and the weather was warm.",
        "Sales of bread and cheese grew a little in the second week.",
        "The meeting was opened by the chair and the minutes were approved.",
        "Nobody was hurt, but the road stayed closed until the evening.",
        "Please call me at 555 0134 or write to the address below.",
        "The total of the invoice is 482.50 including delivery.",
        "Last year the same problem was solved by the technician in one visit.",
        "The school choir sang three songs before the speeches began.",
    ]
    parts += [rng.choice(stock) for _ in range(rng.choice([2, 5, 12, 60]))]
    return (rng.choice([" ", " ", "\n\n"]) if len(parts) > 20 else " ").join(parts)


def log(rng):
    """Lines of a log."""
    def line():
        day, hour, minute = rng.randrange(10, 28), rng.randrange(10, 23), rng.randrange(10, 59)
        level, unit = rng.choice(["INFO", "WARN", "ERROR"]), rng.choice(["api", "worker", "store", "edge"])
        status, took = rng.choice([200, 429, 500]), rng.randrange(900)
        return f"2026-03-{day}T{hour}:{minute}:07Z {level} {unit}[{rng.randrange(100, 999)}] op={rng.randrange(10**6)} status={status} took={took}ms"
    return "\n".join(line() for _ in range(rng.choice([6, 30, 120])))


def report(rng):
    """A document full of words that would be hard in an ask."""
    stock = [
        "The committee discussed the theorem of optimal taxation and derived the marginal rate from the data of last year.",
        "Dr Hale and Ms Novak signed the contract on 4 May in Leeds; the indemnity covers negligence and breach.",
        "The consensus protocol of the new cluster was analysed, and its latency compared with that of the old kernel.",
        "Patients with chronic renal disease received the lower dose, and the treatment effect was not significant.",
        "Quantum sensors were funded by a grant of 3.2 million, of which 480,000 went to the spectrometer.",
        "The proof of payment and the audit of the derivative portfolio are attached as annex B.",
        "Why the algorithm diverged was investigated, and the gradient was found to be corrupt.",
        "The regression shows that wages fell by 2.1 percent where the tariff had been raised.",
    ]
    paragraphs = [" ".join(rng.sample(stock, rng.choice([3, 4, 5]))) for _ in range(rng.choice([5, 8, 14]))]
    return rng.choice([" ", "\n\n", "\n\n"]).join(paragraphs)


def trace(rng):
    """The stack trace of a program that failed."""
    names = ["consensus", "scheduler", "billing", "ledger", "router", "queue"]
    if rng.random() < 0.5:
        frames = [f'  File "/srv/{rng.choice(names)}/{rng.choice(names)}.py", line {rng.randrange(9, 400)}, in run\n    self.step({rng.choice(names)})' for _ in range(rng.choice([3, 8, 20]))]
        return "\n".join(["Traceback (most recent call last):", *frames, f"ValueError: bad {rng.choice(names)} quorum"])
    frames = [f"    at org.example.{rng.choice(names)}.Worker.run(Worker.java:{rng.randrange(9, 400)})" for _ in range(rng.choice([4, 12, 30]))]
    return "\n".join(["java.lang.IllegalStateException: deadlock suspected", *frames])


def printed(rng):
    """What a command or a compiler prints: a table, or a message with its places."""
    name = lambda: rng.choice(["api", "worker", "billing", "edge", "store", "cron", "search"])
    count, size = rng.choice([3, 6, 15]), lambda: rng.randrange(1, 999)
    pods = ["NAME                  READY   STATUS             RESTARTS   AGE"] + [
        f"{name()}-{rng.randrange(16**6):06x}-{rng.randrange(16**3):03x}    {rng.choice('01')}/1     {rng.choice(['Running', 'CrashLoopBackOff', 'Pending'])}   {rng.randrange(40)}          {rng.randrange(2, 90)}d"
        for _ in range(count)
    ]
    processes = ["USER       PID %CPU %MEM    VSZ   RSS TTY      STAT START   TIME COMMAND"] + [
        f"{rng.choice(['root', 'www', 'ann'])}      {size()}  {rng.randrange(99)}.{rng.randrange(9)}  0.{rng.randrange(9)} {size()}404 {size()}2 ?        Ss   Mar{rng.randrange(10, 28)}   0:0{rng.randrange(9)} /usr/bin/{name()} --lock"
        for _ in range(count)
    ]
    disks = ["Filesystem      Size  Used Avail Use% Mounted on"] + [
        f"/dev/sd{rng.choice('abc')}{rng.randrange(1, 4)}       {size()}G  {size()}G   {rng.randrange(9)}G  {rng.randrange(99)}% /{name()}" for _ in range(count)
    ]
    place = f"src/{name()}.rs:{size()}:{rng.randrange(1, 40)}"
    panic = [f"thread 'main' panicked at {place}:", f"called `Option::unwrap()` on a `None` value: {name()} mutex poisoned", "stack backtrace:"]
    panic += [line for at in range(count) for line in (f"   {at}: {name()}::scheduler::run", f"             at ./src/{name()}.rs:{size()}:9")]
    borrow = [f"error[E0{rng.randrange(300, 599)}]: cannot borrow `{name()}` as mutable more than once at a time", f"  --> {place}", "   |"]
    borrow += [f"{size()} |     let next = {name()}.lock();", "   |                ^^^^ second mutable borrow occurs here"]
    values = ["date,name,amount,state"] + [f"2026-02-{rng.randrange(10, 28)},{name()},{size()}.50,{rng.choice(['open', 'paid'])}" for _ in range(count)]
    files = [f"-rw-r--r--  1 ann  staff  {size()}  Jan {rng.randrange(10, 28)} 10:00 {name()}.txt" for _ in range(count)]
    return "\n".join(rng.choice([pods, processes, disks, panic, borrow, values, files]))


CODE = [
    "```python\ndef total(rows):\n    result = 0\n    for row in rows:\n        if row.paid:\n            result += row.amount\n    return result\n```",
    "```go\nfunc (p *Pool) Get() *Conn {\n\tp.mu.Lock()\n\tdefer p.mu.Unlock()\n\tif len(p.free) == 0 {\n\t\treturn nil\n\t}\n\tc := p.free[0]\n\tp.free = p.free[1:]\n\treturn c\n}\n```",
    "```js\nconst seen = new Map();\nexport function once(key, run) {\n  if (!seen.has(key)) {\n    seen.set(key, run());\n  }\n  return seen.get(key);\n}\n```",
    "```rust\nimpl Counter {\n    pub fn next(&self) -> u64 {\n        let now = self.value.load(Ordering::Relaxed);\n        self.value.store(now + 1, Ordering::Relaxed);\n        now\n    }\n}\n```",
    "def area(w, h):\n    return w * h",
]
# How the same ask is also written; what an ask brings along stays as it is.
MANNERS = [
    lambda text: text,
    lambda text: text,
    lambda text: text[:1].lower() + text[1:].rstrip(".?!"),
    lambda text: f"Hi, {text[:1].lower()}{text[1:]}",
    lambda text: f"{text} Thanks!",
    lambda text: f"Can you help me? {text}",
]


def written_asks(path, fillings=9, seed=1):
    """The asks of the file, filled in: dicts of id, kind, language, level, template and messages."""
    rng, slots, head, asks = random.Random(seed), {}, None, []
    for line in Path(path).read_text(encoding="utf-8").splitlines():
        if not line or line.startswith("#"):
            continue
        if line.startswith("= "):
            name, values = line[2:].split(":", 1)
            slots[name] = [value.strip() for value in values.split(" | ")]
            continue
        if line.startswith("== "):
            head = line[3:].split()
            continue
        kind, language, level = head
        makers = {"document": lambda: document(rng), "report": lambda: report(rng), "log": lambda: log(rng), "trace": lambda: trace(rng), "printed": lambda: printed(rng), "code": lambda: rng.choice(CODE)}
        def filled(match):
            name = match.group(1)
            return makers[name]() if name in makers else rng.choice(slots[name]) if name in slots else match.group(0)
        texts = set()
        for _ in range(fillings if "{" in line else 3):
            text = re.sub(r"\{(\w+)\}", filled, line.replace("\\n", "\n"))
            if language == "en" and " >> " not in line and level not in ("easy",) and len(text) < 400:
                text = rng.choice(MANNERS)(text)
            if text in texts:
                continue
            texts.add(text)
            messages = []
            for turn in text.split(" >> "):
                messages += [{"role": "user", "content": turn}, {"role": "assistant", "content": "…"}]
            ask = {"kind": kind, "language": language, "level": level, "template": line, "messages": messages[:-1]}
            asks.append({"id": f"ask-{len(asks)}", **ask})
    return asks

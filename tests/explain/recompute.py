"""Recomputes every number of decisions (`aipipe explain --json`, `POST /v1/route`) from the others, by the published rules alone.

    recompute.py CATALOGUE.toml [FURTHER.toml ...] < decisions.json

Standard input holds one decision or an array of them. Prices come from the catalogue's files, later ones over earlier ones. Any
difference ends the script with 1 and says where.
"""

import json
import math
import sys
import tomllib
from decimal import Decimal
from fractions import Fraction

SHIFTS = {None: 0.0, "balanced": 0.0, "economy": -0.2, "best": 0.2}
checks = 0


def check(condition, where, what):
    global checks
    if not condition:
        sys.exit(f"{where}: {what}")
    checks += 1


def near(shown, computed):
    """Twelve digits are shown; the last one may be rounded either way."""
    return abs(shown - computed) <= 1e-11 * max(abs(computed), 1e-300)


def logistic(logit):
    return 1 / (1 + math.exp(-logit))


def catalogue(files):
    models = {}
    for file in files:
        with open(file, "rb") as opened:
            for model in tomllib.load(opened, parse_float=Decimal).get("models", []):
                models.setdefault((model["provider"], model["id"]), {}).update(model)
    return models


def nanos(price):
    return Fraction(price) * 10**9


def cost(model, tokens, cached, output):
    """USD of so many tokens: the sum in nano-dollars, rounded up once."""
    price, result = nanos(model["input"]), nanos(model["output"])
    read = nanos(model.get("cached_input", model["input"]))
    long = model.get("long_context")
    if long and tokens > long["threshold_tokens"]:
        read = Fraction(math.ceil(read * nanos(long["input"]) / price)) if price else read
        price, result = nanos(long["input"]), nanos(long["output"])
    return math.ceil((price * (tokens - cached) + read * cached + result * output) / 10**6)


def usd(text):
    whole, places = text.split(".")
    return int(whole) * 10**9 + int(places.ljust(9, "0")) if len(places) == 9 else None


def digits(text):
    return len(text.replace(".", "").lstrip("0")) == 12 or float(text) == 0


def check_complexity(decision):
    complexity, bias = decision["complexity"], decision.get("bias")
    check(0 <= complexity <= 1, "complexity", complexity)
    check(set(decision["signals"]) == {"length", "code", "keywords", "structure", "depth"}, "signals", decision["signals"])
    check(all(0 <= value <= 1 for value in decision["signals"].values()), "signals", decision["signals"])
    check(near(decision["exponent"], max(0.0, complexity - 0.25) * 6), "exponent", decision["exponent"])
    if bias:
        shift = SHIFTS[bias["quality"]] + (0.25 if bias["stuck"] else 0.0)
        check(near(bias["shift"], shift), "bias.shift", bias)
        check(near(complexity, min(1.0, max(0.0, bias["assessed"] + shift))), "complexity", bias)


def check_candidate(candidate, decision, models):
    where = f"{candidate['provider']}/{candidate['model']}"
    model = models[candidate["provider"], candidate["model"]]
    check(candidate["eligible"] == (candidate["reason"] is None), where, "eligible or a reason")
    check(candidate["penalty"] >= 1, where, "penalty")
    check(0 < candidate["quality"] <= 1, where, "quality")
    learned = candidate.get("learned")
    prior = learned["prior"] if learned else candidate["quality"]
    check(prior == float(model["quality"]), where, f"quality {prior} is not the catalogue's")
    if learned:
        check(0 < abs(learned["shift"]) <= 1, where, "shift")
        held = min(max(prior, 0.001), 0.999)
        check(near(candidate["quality"], logistic(math.log(held / (1 - held)) + learned["shift"])), where, "learned quality")
    if candidate["raw_cost_usd"] is None:
        check(candidate["adjusted_cost_usd"] is None and candidate["effective_cost_usd"] is None, where, "unpriced")
        return
    raw = usd(candidate["raw_cost_usd"])
    check(raw == cost(model, candidate["input_tokens"], 0, candidate["output_tokens"]), where, f"raw cost {raw}")
    adjusted = raw / 1e9 / candidate["quality"] ** decision["exponent"]
    check(near(float(candidate["adjusted_cost_usd"]), adjusted), where, f"adjusted cost is {adjusted}")
    check(near(float(candidate["effective_cost_usd"]), adjusted * candidate["penalty"]), where, "effective cost")
    check(digits(candidate["adjusted_cost_usd"]) and digits(candidate["effective_cost_usd"]), where, "twelve digits")


def effective(candidate, exponent):
    return usd(candidate["raw_cost_usd"]) / 1e9 / candidate["quality"] ** exponent * candidate["penalty"]


def check_ranks(decision):
    candidates, exponent = decision["candidates"], decision["exponent"]
    eligible = [candidate for candidate in candidates if candidate["eligible"]]
    check(candidates[: len(eligible)] == eligible, "candidates", "the eligible come first")
    check([candidate["rank"] for candidate in eligible] == list(range(1, len(eligible) + 1)), "ranks", "1, 2, 3 …")
    check(all("rank" not in candidate for candidate in candidates[len(eligible):]), "ranks", "of the others")
    if is_auto(decision):
        for first, second in zip(eligible, eligible[1:]):
            one, other = effective(first, exponent), effective(second, exponent)
            names = [(candidate["provider"], candidate["model"]) for candidate in (first, second)]
            check(one < other or (near(one, other) and names == sorted(names)), "ranks", names)
    return eligible


def is_auto(decision):
    return decision["requested"].split(":")[0] == "auto"


def check_chosen(decision, eligible):
    names = [{"provider": candidate["provider"], "model": candidate["model"]} for candidate in eligible]
    conversation = decision.get("conversation")
    expected = names[0] if names else None
    if decision.get("explored"):
        expected = names[1]
        check(effective(eligible[1], decision["exponent"]) <= 1.5 * effective(eligible[0], decision["exponent"]), "explored", "cost")
    elif conversation and conversation["kept"]:
        expected = {"provider": conversation["provider"], "model": conversation["model"]}
    check(decision["chosen"] == expected, "chosen", decision["chosen"])


def check_conversation(decision, models):
    conversation = decision.get("conversation")
    if not conversation or conversation["cached_cost_usd"] is None:
        return
    key = conversation["provider"], conversation["model"]
    candidate = next(one for one in decision["candidates"] if (one["provider"], one["model"]) == key)
    cached = conversation["cached_input_tokens"]
    raw = cost(models[key], candidate["input_tokens"], cached, candidate["output_tokens"])
    check(usd(conversation["cached_cost_usd"]) == raw, "conversation", f"cached cost is {raw}")
    paid = raw / 1e9 / candidate["quality"] ** decision["exponent"] * candidate["penalty"]
    check(near(float(conversation["cached_effective_cost_usd"]), paid), "conversation", f"effective cost is {paid}")


def check_break_even(decision, eligible):
    even = decision.get("break_even")
    check((even is not None) == (is_auto(decision) and len(eligible) > 1), "break_even", even)
    if even is None:
        return
    first, second = eligible[:2]
    check((even["provider"], even["model"]) == (second["provider"], second["model"]), "break_even", even)
    paid = [usd(candidate["raw_cost_usd"]) * candidate["penalty"] for candidate in (first, second)]
    dearer, better = math.log(paid[1] / paid[0]), math.log(second["quality"] / first["quality"])
    if better > 0 and 0.25 + dearer / better / 6 <= 1:
        side = "from"
    elif better < 0 and dearer < 0:
        side = "up_to"
    else:
        check(even["complexity"] is None and even["side"] is None, "break_even", even)
        return
    complexity = 0.25 + dearer / better / 6
    check(even["side"] == side and abs(even["complexity"] - complexity) < 1e-9, "break_even", f"{even}: {complexity}")
    # There both cost the same, by the formula that candidates are ranked by.
    both = [effective(candidate, (complexity - 0.25) * 6) for candidate in (first, second)]
    check(abs(both[0] - both[1]) <= 1e-9 * both[0], "break_even", both)


def main():
    decisions = json.load(sys.stdin)
    models = catalogue(sys.argv[1:])
    for decision in decisions if isinstance(decisions, list) else [decisions]:
        check_complexity(decision)
        for candidate in decision["candidates"]:
            check_candidate(candidate, decision, models)
        eligible = check_ranks(decision)
        check_chosen(decision, eligible)
        check_conversation(decision, models)
        check_break_even(decision, eligible)
    print(f"{checks} checks passed")


main()

"""Reads every sentence of a report against the tables that it is about.

A sentence that no pattern knows is an error, so that no new one goes unread. Numbers are read out
of the sentence and compared with the table at the decimals that are printed; words such as "falls"
or "within the margin" are compared with the verdicts of the rows. Nothing here calls the code that
writes the sentences.
"""

import math
import re

import numpy as np
import pandas as pd

MINUS = "\N{MINUS SIGN}"
NUM = rf"[{MINUS}+]?\d[\d,]*(?:\.\d+)?"
RANGE = rf"(?:{NUM}(?:\N{{EN DASH}}| to ){NUM}|no interval(?:, all alike)?)"
MARK = "[\N{DAGGER}\N{DOUBLE DAGGER}\N{SECTION SIGN}\N{PILCROW SIGN}]?"
EST = rf"(?:{NUM} \({RANGE}\){MARK}|undefined)"
PERCENT = rf"(?:{NUM} % \({RANGE}\){MARK})"
SIZE = rf"{NUM} (?:points )?\({NUM} to {NUM}\)"
BANNED = (
    *("could not be shown", "no loss", "no difference", "optimistic", "significant", "separable"),
    *("Holm", "Kendall", "defer by confidence", "0.0)", "p = 0.000", "nan", "None", "worst slice"),
)
STAGES = {
    "stress": ("conditions", "delta", "severity"),
    "slice": ("slices", "gap", "family"),
}


class LieError(AssertionError):
    """A sentence that its tables do not bear out."""


def ask(held, sentence, why):
    """Fail with the sentence unless something holds."""
    if not held:
        raise LieError(f"{why}: {sentence!r}")


def numbers(words):
    """The printed numbers in their order."""
    return [each.replace(",", "") for each in re.findall(NUM, words)]


def equal(printed, value, scale=1.0):
    """Whether a printed number is a value at its own decimals."""
    text = printed.replace(MINUS, "-").replace("+", "").replace(",", "")
    decimals = len(text.partition(".")[2])
    if value is None or not math.isfinite(value):
        return False
    return abs(float(text) - scale * value) <= 0.5 * 10.0**-decimals + 1e-6 * max(1, scale)


def is_estimate(words, row, *, scale=1.0, ends=("low", "high"), value="value"):
    """Whether a printed value with its interval is that of a row."""
    if words == "undefined":
        return pd.isna(row[value])
    first, *rest = numbers(words)
    if not equal(first, row[value], scale):
        return False
    low, high = (row[end] for end in ends)
    if "no interval" in words:
        return pd.isna(low) or low == high
    return len(rest) == 2 and equal(rest[0], low, scale) and equal(rest[1], high, scale)


MEANINGS = (
    "harm that was set as too small to matter",
    "recall of every class, weighted as the test role mixes them",
    "of a column that was named beforehand",
    "of any other column",
    "drawn towards 0, the more the less certain the gap is",
)
"""What stands in brackets behind a term where it stands first."""


def without_meanings(written):
    """Paragraphs without the meanings of terms, each of which is told once at most."""
    whole = "\n".join(written)
    for meaning in MEANINGS:
        ask(whole.count(f" ({meaning})") <= 1, meaning, "told more than once")
        whole = whole.replace(f" ({meaning})", "")
    return whole.split("\n")


def split(paragraph):
    """Sentences; a stop ends one only before a capital or a number."""
    return re.split(r"(?<=\.) (?=[A-Z\d])", paragraph)


class Walk:
    """The sentences of one report and the tables behind them."""

    def __init__(self, results):
        self.results = results
        self.open = None
        self.read = 0

    # tables

    def rows(self, stage, name, **where):
        table = self.results.table(stage, name)
        for column, value in where.items():
            table = table[table[column] == value]
        return table

    def row(self, stage, name, **where):
        found = self.rows(stage, name, **where)
        if not len(found):
            raise LieError(f"no row of {stage}/{name} with {where}")
        return found.iloc[0]

    def scalar(self, stage, name):
        value = self.results.scalar(stage, name)
        return math.nan if value is None else value

    def headline(self, stage, name):
        ends = {end: self.scalar(stage, f"{name}_ci_{end}") for end in ("low", "high")}
        return {"value": self.scalar(stage, name), **ends}

    def measured(self, name):
        found = self.rows("evaluate", "metrics", metric=name)
        return found.iloc[0] if len(found) else self.headline("evaluate", name)

    # paragraphs

    def paragraphs(self, written):
        """Every sentence of the narrative."""
        for paragraph in without_meanings(written):
            for banned in BANNED:
                ask(banned not in paragraph, paragraph, f"says {banned!r}")
            sentences = split(paragraph)
            self.open = None
            for sentence in sentences:
                self.one(sentence, PATTERNS)
            self.close(paragraph)
            self.both_rates(sentences)
        return self

    def one(self, sentence, patterns):
        for pattern, check in patterns:
            found = re.fullmatch(pattern, sentence)
            if found:
                check(self, found, sentence)
                self.read += 1
                return
        raise LieError(f"a sentence that nobody reads: {sentence!r}")

    def both_rates(self, sentences):
        """Sensitivity is never told without specificity beside it."""
        for i, sentence in enumerate(sentences):
            if re.search(r"\bsensitivity\b", sentence, re.IGNORECASE):
                near = " ".join(sentences[max(0, i - 1) : i + 2])
                ask("specificity" in near.lower(), sentence, "no specificity beside it")

    # evaluate

    def critical_point(self, m, s):
        sens, spec = (self.measured(f"critical_{name}") for name in ("sensitivity", "specificity"))
        first = self.rows("evaluate", "metrics").iloc[0]
        ask(equal(m["n"], first["n"]) and equal(m["g"], first["n_groups"]), s, "n")
        ask(m["c"] == self.results.critical, s, "class")
        ask(is_estimate(m["sens"], sens) and equal(m["ns"], sens["n_positive"]), s, "sensitivity")
        ask(is_estimate(m["spec"], spec) and equal(m["np"], spec["n_positive"]), s, "specificity")

    def false_alarms(self, m, s):
        found = self.measured("critical_false_alarms_per_100")
        ask(is_estimate(m["v"], found), s, "false alarms")
        others = 100 * (1 - self.measured("critical_specificity")["value"])
        ask(equal(numbers(m["v"])[0], others), s, "specificity says otherwise")

    def predictive(self, m, s):
        stated = bool(self.scalar("evaluate", "prevalence_stated"))
        ask((m["whose"] == "stated prevalence") == stated, s, "whose prevalence")
        at = self.scalar("evaluate", "critical_prevalence")
        ask(equal(m["p"], at, 100), s, "prevalence")
        if not stated:
            sens, spec = (self.measured(f"critical_{n}") for n in ("sensitivity", "specificity"))
            own = sens["n_positive"] / (sens["n_positive"] + spec["n_positive"])
            ask(equal(m["p"], own, 100), s, "prevalence of the test role")
        for name in ("ppv", "npv"):
            ask(is_estimate(m[name], self.measured(f"critical_{name}")), s, name)

    def carried_over(self, m, s):
        low, high = (
            self.scalar("evaluate", f"critical_specificity_expected_{end}")
            for end in ("low", "high")
        )
        value = self.measured("critical_specificity")["value"]
        ask(equal(m["t"], self.results.points.specificity), s, "target")
        ask(equal(m["v"], value) and equal(m["lo"], low) and equal(m["hi"], high), s, "range")
        where = "below" if value < low else "above" if value > high else "inside"
        ask(m["where"] == where, s, where)

    def lowest(self, m, s):
        table = self.rows("evaluate", "per_class", metric="sensitivity").dropna(subset=["value"])
        least = table.loc[table["value"].idxmin()]
        spec = self.row("evaluate", "per_class", metric="specificity", **{"class": m["c"]})
        ask(m["c"] == least["class"], s, f"the lowest is {least['class']}")
        ask(is_estimate(m["sens"], least) and equal(m["ns"], least["n_positive"]), s, "sensitivity")
        ask(is_estimate(m["spec"], spec) and equal(m["np"], spec["n_positive"]), s, "specificity")

    def means(self, m, s):
        for name in ("sensitivity", "specificity"):
            ask(is_estimate(m[name], self.measured(f"macro_{name}")), s, name)
        ask(equal(m["t"], self.results.points.specificity), s, "target")

    def ranking(self, m, s):
        ask(is_estimate(m["v"], self.measured("macro_auroc")), s, "macro AUROC")
        if m["b"]:
            ask(is_estimate(m["b"], self.measured("balanced_accuracy")), s, "balanced accuracy")
        if m["k"]:
            ask(equal(m["k"], self.scalar("evaluate", "n_outputs_in_means")), s, "outputs in means")

    def by_label(self, m, s):
        table = self.rows("evaluate", "per_class", metric="auroc").dropna(subset=["value"])
        ends = (table["value"].idxmin(), table["value"].idxmax())
        for name, value, n, place in zip(
            "ab", (m["x"], m["y"]), (m["nx"], m["ny"]), ends, strict=True
        ):
            row = table.loc[place]
            ask(m[name] == row["class"], s, f"expected {row['class']}")
            ask(is_estimate(value, row) and equal(n, row["n_positive"]), s, name)

    # families of comparisons

    def family(self, m, s):
        """Opens a family: the measures and how many of them fall."""
        stage = "stress" if " falls in " in s else "slice"
        found = re.search(r"(confirmatory|exploratory) ", s)
        family = found[1] if found else ""
        ask(s.startswith("To be confirmed") == (family == "exploratory"), s, "exploratory unsaid")
        plain = s.removeprefix("Against clean, ").removeprefix("To be confirmed on other data: ")
        first = re.match(
            rf"([A-Za-z][\w ()]*?)(?: for (\S+))? "
            rf"(?:falls|is lower than in the rest of the test role) in ({NUM}) of ({NUM})\b",
            plain,
        )
        ask(first, s, "unreadable")
        clauses = [
            first.groups(),
            *(
                (name, "", *n)
                for name, *n in re.findall(rf" and (\w+) in ({NUM}) of ({NUM})", plain)
            ),
        ]
        measures = [self.metric_of(name, critical, stage, s) for name, critical, *_ in clauses]
        self.open = {"stage": stage, "family": family, "metrics": measures, "told": set(), "s": s}
        for metric, (*_, worse, tested) in zip(measures, clauses, strict=True):
            rows = self.members(metric)
            ask(equal(worse, (rows["verdict"] == "worse").sum()), s, f"{metric} worse")
            ask(equal(tested, len(rows)), s, f"{metric} tested")

    def metric_of(self, name, critical, stage, s):
        """The metric that a name in a sentence means."""
        plain = name.lower().strip()
        if critical:
            ask(critical == self.results.critical, s, "class")
        table = self.rows(stage, STAGES[stage][0])
        known = set(table[table["verdict"].notna()]["metric"])
        names = {
            "sensitivity": ("critical_sensitivity", "sensitivity"),
            "specificity": ("critical_specificity", "specificity"),
            "macro auroc": ("macro_auroc",),
            "standardised accuracy": ("standardised_accuracy",),
            "exact match (no label wrong)": ("exact_match",),
        }
        ask(plain in names, s, f"unknown measure {name!r}")
        return next((each for each in names[plain] if each in known), names[plain][0])

    def members(self, metric, *, tested=True):
        stage, family = self.open["stage"], self.open["family"]
        rows = self.rows(stage, STAGES[stage][0], metric=metric)
        rows = rows[rows["severity"] > 0] if stage == "stress" else rows
        rows = rows[rows["family"] == family] if family else rows
        left_out = rows.get("suppressed", pd.Series(index=rows.index, dtype=object)).notna()
        rows = rows[~left_out]
        return rows[rows["verdict"].notna()] if tested else rows[rows["verdict"].isna()]

    def counts(self, m, s, verdict, *, tested=True):
        """Clauses `k of <measure>` or a bare `k`: one count per measure."""
        plain = re.sub(r" \([^)]*\)", "", m["counts"])
        parts = [each.partition(" of ")[::2] for each in plain.split(" and ")]
        ask(self.open, s, "no family before")
        told = {name: n for n, name in parts}
        for metric in self.open["metrics"]:
            name = re.sub("^critical_", "", metric)
            n = told.get(name, told.get(""))
            rows = self.members(metric, tested=tested)
            chosen = rows[rows["verdict"] == verdict] if tested else rows
            ask(n is not None and equal(n, len(chosen)), s, f"{metric} {verdict}")
        self.open["told"].add(verdict)

    def within(self, m, s):
        rows = pd.concat([self.members(metric) for metric in self.open["metrics"]])
        margin = rows["margin"].iloc[0]
        ask(equal(m["margin"], margin, 100 if m["unit"] else 1), s, "margin")
        direction = rows["direction"].fillna(1)
        what = STAGES[self.open["stage"]][1]
        most = np.where(direction > 0, -rows[f"{what}_low"], rows[f"{what}_high"])
        held = rows["verdict"] == "within_margin"
        ask((most[held] < margin).all(), s, "an interval passes the margin")
        self.counts(m, s, "within_margin")
        small = rows["metric"][(rows["verdict"] == "worse") & (most < margin)]
        ask(bool(m["small"]) == bool(len(small)), s, "harms that are shown to be small")
        if m["small"]:
            told = {name: n for n, name in re.findall(rf"({NUM})(?: of (\w+))?", m["small"])}
            for metric in self.open["metrics"]:
                n = told.get(re.sub("^critical_", "", metric), told.get(""))
                ask(n and equal(n, (small == metric).sum()), s, f"{metric} small")

    def undecided(self, m, s):
        for name, low, high, unit in re.findall(
            rf"(?:of (sensitivity|specificity) )?\(only (?:falls|gaps) above ({NUM})"
            rf"(?: to ({NUM}))?( points)? could have been seen(?:, and none in {NUM})?\)",
            s,
        ):
            metric = (
                self.metric_of(name, "", self.open["stage"], s) if name else self.open["metrics"][0]
            )
            rows = self.members(metric)
            seen = rows[rows["verdict"] == "undecided"]["minimal_detectable"]
            seen = seen[seen < 1]
            scale = 100 if unit else 1
            ask(equal(low, seen.min(), scale) and equal(high or low, seen.max(), scale), s, "power")
        counted = sum(
            (self.members(x)["verdict"] == "undecided").any() for x in self.open["metrics"]
        )
        ask(s.count("could have been seen") == counted, s, "undecided without its power")
        self.counts(m, s, "undecided")

    def untested(self, m, s):
        if self.open is None or self.open["stage"] == "slice":
            # A sentence on slices of no family, on all leading measures.
            table = self.rows("slice", "slices")
            known = set(table[table["verdict"].notna()]["metric"])
            pairs = ("critical_sensitivity", "critical_specificity"), ("sensitivity", "specificity")
            lead = next((list(pair) for pair in pairs if known & set(pair)), sorted(known)[:1])
            self.open = {"stage": "slice", "family": "", "metrics": lead, "told": set(), "s": s}
            self.counts(m, s, "", tested=False)
            self.open = None
            return
        self.counts(m, s, "", tested=False)

    def gains(self, m, s):
        told = re.findall(rf"(?:in|and \w+ in) ({NUM})", s)
        for metric, n in zip(self.open["metrics"], told, strict=True):
            ask(
                equal(n, (self.members(metric)["verdict"] == "better").sum()), s, f"{metric} better"
            )
        self.open["told"].add("better")

    def largest(self, m, s):
        items = re.split(rf" and (?={NUM} (?:points )?\()", m["items"])
        shown = [x for x in self.open["metrics"] if (self.members(x)["verdict"] == "worse").any()]
        ask(len(items) == len(shown), s, "one for every measure that falls")
        for metric, item in zip(shown, items, strict=True):
            self.largest_item(metric, item, s)
        self.open["told"].add("worse")

    def largest_item(self, metric, item, s):
        part = re.fullmatch(
            rf"(?P<size>{SIZE})(?P<shrunk> after shrinkage)?(?: of (?P<of>[\w ]+?))?"
            rf"(?: for (?P<out>\S+))? (?:under|in) (?P<place>.+) \(n=(?P<n>{NUM}) images?"
            rf"(?:, (?P<k>{NUM}) (?P<side>with|without) (?P<c>.+?))?(?P<pooled>, those of "
            rf"calibration counted in)?\)",
            item,
        )
        ask(part, s, f"unreadable {item!r}")
        stage = self.open["stage"]
        what = STAGES[stage][1]
        worse = self.members(metric)
        worse = worse[worse["verdict"] == "worse"].copy()
        own = worse["interval"] == "marginal"
        column = "shrunk" if part["shrunk"] else what
        if stage == "slice":
            ask(bool(part["shrunk"]) == bool(own.any()), s, "a marginal interval of a chosen slice")
        harm = -worse["direction"] * worse[column]
        row = worse.loc[harm.idxmax()]
        name = row.get("words") if stage == "slice" else None
        place = name if isinstance(name, str) and name else spoken(row)
        ask(part["place"] == place, s, f"the largest is in {place}")
        if part["out"]:
            ask(part["out"] == row["output"], s, f"the largest is of {row['output']}")
        sign = -row["direction"]
        ends = sorted(sign * row[f"{column}_{end}"] for end in ("low", "high"))
        scale = 100 if "points" in part["size"] else 1
        value, low, high = numbers(part["size"])
        ask(equal(value, sign * row[column], scale), s, "size")
        ask(equal(low, ends[0], scale) and equal(high, ends[1], scale), s, "interval")
        n, k = (
            row.get(f"gap_{x}", row[x]) if stage == "slice" else row[x] for x in ("n", "n_positive")
        )
        ask(equal(part["n"], n), s, "n")
        ask(bool(part["k"]) == metric.endswith(("sensitivity", "specificity")), s, "cases behind")
        if part["k"]:
            ask(equal(part["k"], k), s, "cases behind")
            of = self.results.critical if metric.startswith("critical_") else row["output"]
            ask(part["c"] == of, s, "whose cases")
            ask((part["side"] == "with") == metric.endswith("sensitivity"), s, "which cases")

    def close(self, paragraph):
        """Whatever a family holds must have been told."""
        if self.open is None:
            return
        present = {
            verdict
            for metric in self.open["metrics"]
            for verdict in self.members(metric)["verdict"].unique()
        }
        ask(present <= self.open["told"], paragraph, f"untold: {present - self.open['told']}")

    def alike(self, m, s):
        """Slices that are worse for the same images: counted from the ids of the errors."""
        table = self.rows("slice", "slices")
        table = table[table["verdict"] == "worse"]
        clauses = re.findall(
            rf"of ({NUM}) (missed [^;]+?|false alarms of [^;]+?|wrong calls) in ([^;]+), ({NUM}) "
            rf"lie in (?:both|all ({NUM}))(?=[;.]|$)",
            m["groups"],
        )
        ask(len(clauses) + m["groups"].count("more such") == m["groups"].count(";") + 1, s, "read")
        for n, kind, words, shared, of in clauses:
            names = re.split(r", | or ", words)
            ask(len(names) == int(of or 2), s, "how many slices")
            end = {"missed": "sensitivity", "false": "specificity"}.get(kind.split()[0], "")
            rows = table[table["words"].isin(names) & table["metric"].str.endswith(end or "y")]
            if not end:
                rows = rows[rows["metric"].isin(["standardised_accuracy", "exact_match"])]
            else:
                name = kind.removeprefix("missed ").removeprefix("false alarms of ")
                rows = rows[rows["output"].fillna(self.results.critical) == name]
            ask(len(rows) == len(names), s, "slices that are worse")
            errors = [
                self.results.errors_inside[r["slice"], r["metric"], str(r["output"] or "")]
                for r in rows.astype({"output": object}).fillna({"output": ""}).to_dict("records")
            ]
            every, both = set.union(*map(set, errors)), set.intersection(*map(set, errors))
            ask(equal(n, len(every)) and equal(shared, len(both)), s, "errors")
            ask(2 * len(both) >= len(every), s, "not largely the same")

    def nothing_compared(self, m, s):
        stage = "stress" if "condition" in s else "slice"
        table = self.rows(stage, STAGES[stage][0])
        ask(table.empty or table["verdict"].isna().all(), s, "something was tested")

    # found by search

    def discovered(self, m, s):
        table = self.rows("slice", "discovered")
        held = table[table["verdict"] == "confirmed"]
        ask(equal(m["n"], len(table)) and equal(m["k"], len(held)), s, "counts")
        row = held.loc[held["gap"].idxmax()]
        ask(m["slice"] == row["slice"] and m["error"] == row["error"], s, "the largest gap")
        self.gap(m["size"], row, "gap", s)
        ask(equal(m["in"], row["n"]), s, "n")
        ask(row["gap"] > 0 and row["p_adjusted"] <= 0.05, s, "not confirmed")
        of = {None: "wrong call", "with": f"missed {m['c']}", "without": f"false alarm of {m['c']}"}
        ask(of[m["side"]] == row["error"], s, "which images")

    def gap(self, words, row, prefix, s):
        """A size in points is a share of the table."""
        ends = [row[f"{prefix}{end}"] for end in ("", "_low", "_high")]
        told = numbers(words)
        ask(all(equal(x, y, 100) for x, y in zip(told, ends, strict=True)), s, "gap")

    def pairs(self, m, s):
        table = self.rows("slice", "shortcuts")
        alarms = table[table["verdict"] == "alarm"]
        together = (table["verdict"] != "no association shown").sum()
        ask(equal(m["n"], len(table)) and equal(m["j"], together), s, "associations")
        ask(equal(m["k"], len(alarms)), s, "alarms")
        first = alarms.iloc[0]
        ask((m["property"], m["c"]) == (first["property"], first["class"]), s, "first")

    def roles(self, m, s):
        told = re.findall(
            rf"(\w+ against \w+) by (\w+) \(AUROC ({NUM}), by chance up to ({NUM})\)", s
        )
        table = self.rows("slice", "role_drift")
        apart = table[(table["verdict"] == "differ") & table["caution"].isna()]
        ask(len(told) == len(apart), s, "how many")
        for (comparison, features, area, chance), (_, row) in zip(
            told, apart.iterrows(), strict=True
        ):
            ask((comparison, features) == (row["comparison"], row["features"]), s, comparison)
            ask(equal(area, row["auroc"]) and equal(chance, row["chance_high"]), s, "AUROC")

    def shortcut(self, m, s):
        """The first alarm, of the errors with the smaller p-value."""
        table = self.rows("slice", "shortcuts")
        alarms = table[table["verdict"] == "alarm"]
        row = alarms.iloc[0]
        ask((m["property"], m["c"]) == (row["property"], row["class"]), s, "first alarm")
        names = {end or "value": row[f"association{end}"] for end in ("", "_low", "_high")}
        ends = {"value": names["value"], "low": names["_low"], "high": names["_high"]}
        ask(is_estimate(m["auroc"], ends), s, "association")
        side = "missed" if m["errors"] == "misses" else "false_alarm"
        other = {"missed": "false_alarm", "false_alarm": "missed"}[side]
        ask(m["side"] == {"missed": "against", "false_alarm": "for"}[side], s, "side")
        p, q = (row[f"{name}_p_adjusted"] for name in (side, other))
        ask(p <= 0.025 and not q < p, s, "errors do not follow")
        ask(equal(m["inside"], row[f"{side}_inside"], 100), s, "inside")
        ask(equal(m["rest"], row[f"{side}_expected"], 100), s, "expected")
        ask(equal(m["n"], row[f"{side}_n"]), s, "n")
        ask(m["has"] == {"missed": "with", "false_alarm": "without"}[side], s, "which images")
        self.gap(m["size"], row, f"{side}_gap", s)
        if m["size2"]:
            self.gap(m["size2"], row, f"{other}_gap", s)
            ask(m["errors2"] == ("misses" if other == "missed" else "false alarms"), s, "other")
        else:
            ask(not row[f"{other}_gap_low"] <= 1, s, "the other errors are not told")
        told = len(re.findall(r" for ", m["more"] or ""))
        left = re.search(rf"({NUM}) more", m["more"] or "")
        ask(told + int(left[1] if left else 0) == len(alarms) - 1, s, "other alarms")

    # deferral

    def score(self):
        return (
            self.rows("selective", "deferral")["score"].iloc[0]
            if not self.asked()
            else self.asked()
        )

    def asked(self):
        return (self.results.params.get("selective") or {}).get("primary")

    def deferred(self, metric):
        return self.row("selective", "deferral", score=self.score(), metric=metric)

    def kept_changes(self):
        return self.rows("selective", "per_class").dropna(subset=["recall_delta_low"])

    def recall_kept(self, m, s):
        table = self.kept_changes()
        lower = (table["recall_delta_high"] < 0).sum()
        higher = (table["recall_delta_low"] > 0).sum()
        ask(equal(m["k"], lower) and equal(m["n"], len(table)), s, "lower")
        ask(equal(m["j"], higher) and equal(m["u"], len(table) - lower - higher), s, "higher")

    def change(self, m, s, metric, scale):
        row = self.deferred(metric)
        verb = (
            "raises" if row["delta_low"] > 0 else "lowers" if row["delta_high"] < 0 else "changes"
        )
        ask(m["verb"] == verb, s, f"it {verb}")
        sign = -1 if verb == "lowers" else 1
        ends = sorted(sign * row[f"delta_{end}"] for end in ("low", "high"))
        value, low, high = numbers(m["by"])
        scale = scale if "points" in m["by"] else 1
        ask(equal(value, sign * row["delta"], scale), s, "change")
        ask(equal(low, ends[0], scale) and equal(high, ends[1], scale), s, "interval of the change")
        ask(is_estimate(m["to"], row), s, "value")

    def kept(self, m, s):
        ask(
            is_estimate(m["p"].replace(" %", ""), self.deferred("coverage"), scale=100),
            s,
            "coverage",
        )
        ask(m["score"].replace(" ", "_") == self.score(), s, "score")
        self.change(m, s, "selective_risk", 1)

    def asked_coverage(self, m, s):
        row, asked = self.deferred("coverage"), self.scalar("selective", "coverage_asked")
        ask(equal(m["asked"], asked, 100) and equal(m["v"], row["value"], 100), s, "coverage")
        which = "fewer" if row["high"] < asked else "more" if row["low"] > asked else None
        ask(m["which"] == which, s, f"{which}")

    def critical_kept(self, m, s):
        self.change(m, s, "critical_recall_kept", 100)
        ask(m["c"] == self.results.critical, s, "class")
        ask(equal(m["n"], self.deferred("critical_recall_kept")["n_positive"]), s, "n")
        share = self.deferred("critical_deferred_share")
        ask(is_estimate(m["p"].replace(" %", ""), share, scale=100), s, "deferred")

    def failure(self, m, s):
        ask(is_estimate(m["v"], self.headline("selective", "failure_auroc")), s, "AUROC")

    def errors(self):
        risk = self.row("selective", "summary", score=self.score(), metric="risk")
        kept = self.deferred("selective_risk")
        return round(kept["value"] * kept["n_positive"]), round(risk["value"] * risk["n"])

    def errors_kept(self, m, s):
        kept, errors = self.errors()
        ask(equal(m["k"], kept) and equal(m["n"], errors), s, "errors")

    def advice(self, m, s):
        table = self.kept_changes()
        if "not shown to be above 0.5" in s:
            ask(not self.scalar("selective", "failure_auroc_ci_low") > 0.5, s, "it is above chance")
        if "most errors are confident" in s:
            kept, errors = self.errors()
            ask(2 * kept > errors, s, "most errors are deferred")
            ask(self.deferred("errors_kept_share")["low"] > 0.5, s, "most is not shown")
        if "for most" in s:
            ask(2 * (table["recall_delta_high"] < 0).sum() > len(table), s, "not for most")

    # calibration

    def ece(self, m, s):
        row = self.row("calibrate", "summary", calibrator="identity", metric="ece")
        ask(equal(m["v"], row["value"]) and equal(m["n"], row["n"]), s, "ECE")
        if m["g"]:
            ask(equal(m["g"], row["n_groups"]), s, "groups")

    def floor(self):
        return self.row("calibrate", "noise_floor", calibrator="identity", event="mean")

    def chance(self, m, s):
        row = self.floor()
        ask(equal(m["a"], row["mean"]) and equal(m["b"], row["p95"]), s, "floor")
        at_least = float(m["p"]) >= row["p_value"] - 1e-6
        ask(at_least if m["sign"] == "<" else equal(m["p"], row["p_value"]), s, "p")

    def miscalibrated(self, m, s):
        row = self.floor()
        ece = self.row("calibrate", "summary", calibrator="identity", metric="ece")
        shown = row["p_value"] < 0.05
        if ece["n_groups"] < ece["n"]:
            shown = shown and row.get("p_value_grouped", math.nan) < 0.05
        ask(shown == ("shown." in s), s, "verdict")
        if "above" in s:
            ask(equal(numbers(s)[0], row["p95"]) and not row["p_value"] < 0.05, s, "power")

    def slopes(self, m, s):
        told = re.findall(rf"({EST}) for ([^,;]+?)(?=[,;.]|$)", m["each"])
        ask(told, s, "no slope")
        for value, name in told:
            asked = {"calibrator": "identity", "metric": "cox_slope", "event": name}
            row = self.row("calibrate", "events", **asked)
            ask(is_estimate(value, row), s, name)
            ask(row["low"] > 1 or row["high"] < 1, s, "its interval holds 1")

    def calibrator(self, m, s):
        name = m["name"].replace(" ", "_")
        row = self.row("calibrate", "summary", calibrator=name, metric="log_loss")
        ends = ("delta_low", "delta_high")
        ask(is_estimate(m["v"], row, value="delta", ends=ends), s, "log loss")
        verdict = "undecided"
        if row["delta_high"] < 0 or row["delta_low"] > 0:
            verdict = "an improvement" if row["delta"] < 0 else "a loss"
        ask(m["verdict"] == verdict, s, verdict)

    def undefined_ece(self, m, s):
        row = self.row("calibrate", "summary", calibrator="identity", metric="ece")
        ask(pd.isna(row["value"]) or pd.isna(self.floor()["p95"]), s, "it is defined")

    # alerts

    def alerts(self, written):
        """Every alert."""
        for sentence in written:
            for banned in BANNED:
                ask(banned not in sentence, sentence, f"says {banned!r}")
            self.one(sentence, ALERTS)
        return self

    def off_target(self, m, s):
        low, high = (
            self.scalar("evaluate", f"critical_specificity_expected_{end}")
            for end in ("low", "high")
        )
        row = self.measured("critical_specificity")
        ask(is_estimate(m["spec"], row) and equal(m["n"], row["n_positive"]), s, "specificity")
        ask(equal(m["lo"], low) and equal(m["hi"], high), s, "range")
        ask(not low <= row["value"] <= high, s, "it lies inside")
        ask(is_estimate(m["sens"], self.measured("critical_sensitivity")), s, "sensitivity")

    def few(self, m, s):
        table = self.rows("evaluate", "per_class", metric="auroc")
        small = table[table["n_positive"] < int(m["n"])]
        expected = [(str(r["class"]), f"{int(r['n_positive'])}") for _, r in small.iterrows()]
        told = re.findall(rf"([^,:]+?) \(({NUM})\)", m["each"])
        ask([(name.strip(), n) for name, n in told] == expected, s, f"{expected}")

    def leak(self, m, s):
        ask(equal(m["n"], len(self.results.groups_in_two_roles)), s, "groups")

    def contradiction(self, m, s):
        for name in ("auroc", "sensitivity"):
            row = self.row("evaluate", "per_class", metric=name, **{"class": m["c"]})
            ask(equal(m[name], row["value"]), s, name)

    def surprise(self, m, s):
        values = [row for _, row in self.rows("evaluate", "metrics").iterrows()]
        row = next((each for each in values if is_estimate(m["v"], each)), None)
        ask(row is not None, s, "no such measure")
        ask(not float(m["lo"]) <= row["value"] <= float(m["hi"]), s, "it lies inside")


class Answers:
    """The answers of the checklist against the tables, by rules of their own."""

    def __init__(self, results):
        self.walk = Walk(results)
        self.results = results

    def each(self, answers):
        """Pairs of an item and its answer."""
        for item, answer in answers:
            absent = re.fullmatch(r"this audit has no \w+ stage", answer.basis)
            known = item.check and not absent
            expected = getattr(self, item.check)(item, answer) if known else "not measured"
            ask(answer.status == expected, answer.basis, f"expected {expected}")
            ask(not any(word in answer.basis for word in BANNED), answer.basis, "banned")

    @staticmethod
    def side(row, bound):
        """Where an interval lies beside a bound."""
        low, high = row["low"], row["high"]
        if pd.isna(low) or low == high:
            return "inconclusive"
        return "met" if low >= bound else "not met" if high < bound else "inconclusive"

    def told(self, answer, row):
        """The number of a basis is that of the table."""
        ask(is_estimate(re.search(EST, answer.basis)[0], row), answer.basis, "number")

    def at_least(self, item, answer):
        rows = self.walk.rows("evaluate", "metrics", metric=item.metric).dropna(subset=["value"])
        if rows.empty:
            return "not measured"
        self.told(answer, rows.iloc[0])
        return self.side(rows.iloc[0], item.bound)

    def realised_specificity(self, item, answer):
        rows = self.walk.rows("evaluate", "metrics", metric="critical_specificity")
        if rows.dropna(subset=["value"]).empty:
            return "not measured"
        self.told(answer, rows.iloc[0])
        low = self.walk.scalar("evaluate", "critical_specificity_expected_low")
        below = rows.iloc[0]["value"] < low
        ask(("below what sampling explains" in answer.basis) == below, answer.basis, "sampling")
        return self.side(rows.iloc[0], self.results.points.specificity - item.bound)

    def family(self, item, stage):
        """Rows of one measure, of every label where none is critical."""
        name, what, _ = STAGES[stage]
        known = set(self.walk.rows(stage, name)["metric"])
        of_class = f"critical_{item.metric}"
        metric = of_class if of_class in known and self.results.critical else item.metric
        rows = self.walk.rows(stage, name, metric=metric)
        up = rows["direction"].fillna(1) > 0
        most, least = (
            np.where(up, -rows[f"{what}_{end}"], rows[f"{what}_{other}"])
            for end, other in (("low", "high"), ("high", "low"))
        )
        return rows.assign(most=most, least=least)

    def judged(self, rows, item, answer):
        tested = rows[rows["verdict"].notna()]
        if tested.empty:
            return "not measured"
        tolerated = item.bound or tested["margin"].iloc[0]
        beyond, held = tested["least"] > tolerated, tested["most"] < tolerated
        counted = [int(each.replace(",", "")) for each in re.findall(r"\d+", answer.basis)[:2]]
        if beyond.any():
            ask(counted == [beyond.sum(), len(tested)], answer.basis, "counts")
            ask("shown to lose more than" in answer.basis, answer.basis, "how much")
            return "not met"
        ask(counted == [held.sum(), len(tested)], answer.basis, "counts")
        if held.sum() == len(rows):
            return "met"
        worse = (tested["verdict"] == "worse") & ~held
        told = re.search(r"(\d+) worse by less or more", answer.basis)
        ask(int(told[1] if told else 0) == worse.sum(), answer.basis, "worse by how much")
        if held.sum() + worse.sum() < len(rows):
            ask("could have been seen" in answer.basis, answer.basis, "open without its power")
        return "inconclusive"

    def mild_stress(self, item, answer):
        rows = self.family(item, "stress")
        return self.judged(rows[rows["severity"] == 1], item, answer)

    def no_worse_slice(self, item, answer):
        rows = self.family(item, "slice")
        planned = self.judged(rows[rows["family"] == "confirmatory"], item, answer)
        found = rows[(rows["family"] == "exploratory") & (rows["verdict"] == "worse")]
        found = found[found["most"] >= (item.bound or found["margin"])]
        if planned == "not met" or found.empty:
            return planned
        ask(f"{len(found)} of" in answer.basis, answer.basis, "exploratory")
        return "inconclusive"

    def calibrated(self, item, answer):
        row, floor = (
            self.walk.row("calibrate", "summary", calibrator="identity", metric="ece"),
            (self.walk.floor()),
        )
        factor = math.sqrt(row["n"] / row["n_groups"])
        spread, p95 = factor * (floor["p95"] - floor["mean"]), factor * floor["p95"]
        ask(equal(numbers(answer.basis)[0], row["value"]), answer.basis, "ECE")
        if row["value"] + spread <= item.bound:
            return "met"
        return "not met" if row["value"] - p95 > item.bound else "inconclusive"

    def recall_among_kept(self, item, answer):
        if self.results.critical is None:
            return "not measured"
        row = self.walk.deferred("critical_recall_kept")
        self.told(answer, row)
        return self.side(row, item.bound)

    def recall_not_lowered(self, item, answer):
        table = self.walk.kept_changes()
        if table.empty:
            return "not measured"
        if (table["recall_delta_high"] < -item.bound).any():
            return "not met"
        held = (table["recall_delta_low"] > -item.bound).sum()
        ask(numbers(answer.basis)[0] == str(held), answer.basis, "count")
        return "met" if held == len(self.results.classes) else "inconclusive"

    def finds_errors(self, item, answer):
        row = self.walk.headline("selective", "failure_auroc")
        if pd.isna(row["value"]):
            return "not measured"
        self.told(answer, row)
        return self.side(row, item.bound)

    def no_leak(self, item, answer):
        if self.walk.scalar("prepare", "n_groups") == self.walk.scalar("prepare", "n_images"):
            return "not measured"
        return "not met" if self.results.groups_in_two_roles else "met"

    def labels_agree(self, item, answer):
        table = self.results.table("prepare", "duplicates")
        if table.empty:
            return "not measured"
        return "not met" if table["labels_differ"].astype(bool).any() else "met"

    def enough_positives(self, item, answer):
        n = self.walk.rows("evaluate", "per_class", metric="auroc")["n_positive"].min()
        ask(equal(numbers(answer.basis)[0], n), answer.basis, "count")
        return "met" if n >= item.bound else "not met"


def spoken(row):
    """A condition as people read it."""
    return f"{row['corruption'].replace('_', ' ')}, severity {int(row['severity'])}"


def est(name):
    """A group that matches a value with its interval."""
    return f"(?P<{name}>{EST})"


def num(name):
    """A group that matches a number."""
    return f"(?P<{name}>{NUM})"


_TEST = rf"On {num('n')} clean test images of {num('g')} groups"


def moved(what):
    """A group of how a change is told."""
    return (
        rf"(?P<verb>lowers|raises|changes) {what} by (?P<by>{SIZE}|{EST})"
        rf"(?:, which is undecided)?"
    )


PATTERNS = (
    (
        rf"{_TEST}, sensitivity for (?P<c>\S+) is {est('sens')} \(n={num('ns')} images with "
        rf"(?P=c)\) and specificity is {est('spec')} \(n={num('np')} images without (?P=c)\), at "
        rf"the threshold frozen on calibration\.",
        Walk.critical_point,
    ),
    (rf"Of 100 images without \S+, {est('v')} raises? a false alarm\.", Walk.false_alarms),
    (
        rf"At the (?P<whose>stated prevalence|prevalence of the test role), {num('p')} %, PPV is "
        rf"{est('ppv')} and NPV is {est('npv')}\.",
        Walk.predictive,
    ),
    (
        rf"The threshold was chosen for specificity {num('t')}; {num('v')} lies "
        rf"(?P<where>above|below|inside) the range {num('lo')}\N{{EN DASH}}{num('hi')} that "
        rf"sampling of the calibration and test roles explains\.",
        Walk.carried_over,
    ),
    (
        rf"{_TEST}, the (?:class|label) of the lowest measured sensitivity is (?P<c>[^:]+): "
        rf"{est('sens')} \(n={num('ns')} images with (?P=c)\) with specificity {est('spec')} "
        rf"\(n={num('np')} images without (?P=c)\)\.",
        Walk.lowest,
    ),
    (
        rf"The mean over all is sensitivity {est('sensitivity')} with specificity "
        rf"{est('specificity')}, each threshold frozen on calibration for specificity "
        rf"{num('t')}\.",
        Walk.means,
    ),
    (
        rf"Macro AUROC is {est('v')}(?: and balanced accuracy is (?P<b>{EST}))?(?: \(means over "
        rf"the (?P<k>{NUM}) of {NUM} \w+ that have both outcomes here\))?\.",
        Walk.ranking,
    ),
    (
        rf"By label it was measured from {est('x')} for (?P<a>\S+) \({num('nx')} images with it\) "
        rf"to {est('y')} for (?P<b>\S+) \({num('ny')} with it\)\.",
        Walk.by_label,
    ),
    (
        r"No (?:condition|slice) .*(?:too few cases for an interval|the test role)\.",
        Walk.nothing_compared,
    ),
    (rf".+(?: falls| is lower than in the rest of the test role) in {NUM} of .+\.", Walk.family),
    (r"The largest (?:falls?|gaps?) shown (?:is|are) (?P<items>.+)\.", Walk.largest),
    (rf".+ (?:rises|is higher than in the rest) in {NUM}.*\.", Walk.gains),
    (
        rf"Within the margin of {num('margin')}(?P<unit> points)? lies? (?P<counts>[^;]+)"
        rf"(?:; of the (?:falls|gaps) shown, (?P<small>.+) lies? within it too)?\.",
        Walk.within,
    ),
    (r"Undecided (?:is|are) (?P<counts>.+)\.", Walk.undecided),
    (r"Too few cases for an interval (?:has|have) (?P<counts>.+)\.", Walk.untested),
    (
        r"Some slices are worse for largely the same test images: (?P<groups>.+)\.",
        Walk.alike,
    ),
    (
        rf"Of {num('n')} slices? that a search found on other roles, not named beforehand, "
        rf"{num('k')} (?:is|are) confirmed on test; the largest gap \((?P<error>[^)]+)\) is "
        rf"(?P<size>{SIZE}) in (?P<slice>.+) \(n={num('in')} images(?: (?P<side>with|without) "
        rf"(?P<c>.+))?\)\.",
        Walk.discovered,
    ),
    (
        rf"Of {num('n')} pairs? of property and class, {num('j')} go together in training and "
        rf"{num('k')} raises? a shortcut alarm, first (?P<property>\S+) for (?P<c>\S+)\.",
        Walk.pairs,
    ),
    (r"Roles are told apart: .+\.", Walk.roles),
    (
        rf"Deferral lowers recall among the kept for {num('k')} of {num('n')} (?:classes|labels), "
        rf"raises it for {num('j')} and leaves {num('u')} undecided\.",
        Walk.recall_kept,
    ),
    (
        rf"Keeping (?P<p>{PERCENT}) of the test images by (?P<score>[\w ]+) \(threshold frozen "
        rf"on calibration\) {moved('the (?:risk .weighted )?share of wrong calls.?')}, "
        rf"to {est('to')}\.",
        Walk.kept,
    ),
    (
        rf"The threshold was set to keep {num('asked')} % of the calibration images; on test it "
        rf"keeps {num('v')} %, (?:(?P<which>fewer|more) than were asked for|and its interval "
        rf"holds what was asked for)\.",
        Walk.asked_coverage,
    ),
    (
        rf"It {moved('recall of .+ among the kept')}, to {est('to')} \(n={num('n')} images with "
        rf"(?P<c>\S+) that are kept\)(?:; specificity of calls changes by {EST})?; "
        rf"(?P<p>{PERCENT}) of the images with (?P=c) are deferred\.",
        Walk.critical_kept,
    ),
    (rf"AUROC of [\w ]+ for right against wrong is {est('v')}\.", Walk.failure),
    (rf"{num('k')} of {num('n')} wrong calls? are kept\.", Walk.errors_kept),
    (r"Deferral by [\w ]+ is not advised: .+\.", Walk.advice),
    (
        rf"The ECE .* before calibration is {num('v')} \(n={num('n')} images(?: in (?P<g>{NUM}) "
        rf"groups)?\)\.",
        Walk.ece,
    ),
    (
        rf"A perfectly calibrated model with these confidences shows {num('a')} on average and "
        rf"{num('b')} or less in 95 of 100 draws \(p (?P<sign>[=<]) {num('p')}\)\.",
        Walk.chance,
    ),
    (r"Miscalibration is (?:shown|undecided: .+)\.", Walk.miscalibrated),
    (r"The ECE .* is undefined\.", Walk.undefined_ece),
    (
        rf"The Cox slope \(1 is ideal; below 1 stated probabilities are too extreme, above 1 not "
        rf"extreme enough\) is (?P<each>.+?)(?:; {NUM} more labels? excludes? 1)?\.",
        Walk.slopes,
    ),
    (
        rf"Calibrator (?P<name>[\w ]+) changes the log loss by {est('v')}: "
        rf"(?P<verdict>undecided|an improvement|a loss)\.",
        Walk.calibrator,
    ),
)
ALERTS = (
    (
        rf"Shortcut alarm: (?P<property>\S+) goes with (?P<c>\S+) in training \(AUROC "
        rf"{est('auroc')}\), and (?P<errors>misses|false alarms) follow it: {num('inside')} % "
        rf"where it speaks (?P<side>against|for) \S+ \(n={num('n')} images "
        rf"(?P<has>with|without) it\), {num('rest')} % in the rest, a gap of (?P<size>{SIZE})"
        rf"(?:; of (?P<errors2>misses|false alarms) where it speaks (?P<side2>against|for) it, "
        rf"(?P<size2>{SIZE}))?(?:; also (?P<more>.+))?\.",
        Walk.shortcut,
    ),
    (
        rf"The frozen threshold of \S+ realises specificity {est('spec')} \(n={num('n')} images "
        rf"without \S+\), outside of {num('lo')}\N{{EN DASH}}{num('hi')}, where sampling leaves "
        rf"95 of 100 "
        rf"thresholds that are chosen for {NUM}; sensitivity there is {est('sens')}\.",
        Walk.off_target,
    ),
    (
        rf"Fewer than {num('n')} positive test images: (?P<each>.+); their intervals are wide\.",
        Walk.few,
    ),
    (
        rf"{num('n')} groups? stands? in two roles: the test role has been seen in training\.",
        Walk.leak,
    ),
    (
        rf"(?P<c>.+): AUROC {num('auroc')} with sensitivity {num('sensitivity')} at its frozen "
        rf"threshold contradict each other: check the score and the threshold\.",
        Walk.contradiction,
    ),
    (
        rf".+ {est('v')} is outside of {num('lo')} to {num('hi')}, where comparable studies lie\.",
        Walk.surprise,
    ),
)

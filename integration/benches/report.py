"""Figures of one bench: rounds in, medians and ratios out."""
import json
import statistics


class Report:
    def __init__(self, bench, as_json):
        self.bench, self.as_json, self.rounds, self.kept = bench, as_json, {}, True

    def add(self, metric, subject, value):
        """One round's value of one subject ("ours" or a peer)."""
        self.rounds.setdefault(metric, {}).setdefault(subject, []).append(value)

    def figure(self, metric, unit, peer="", most=None, least=None):
        """Prints the median of ours; beside a peer also the median of the rounds' ratios, which the limit is about."""
        mine = self.rounds[metric]["ours"]
        ratio = None
        if peer:
            ratio = statistics.median(a / b for a, b in zip(mine, self.rounds[metric][peer]))
        self.line(metric, statistics.median(mine), unit, peer, ratio, most, least)

    def line(self, metric, value, unit, peer="", ratio=None, most=None, least=None):
        judged = value if ratio is None else ratio
        kept = (most is None or judged <= most) and (least is None or judged >= least)
        self.kept &= kept
        if self.as_json:
            print(json.dumps({"bench": self.bench, "metric": metric, "value": round(value, 4), "unit": unit, "peer": peer,
                              "ratio": None if ratio is None else round(ratio, 3)}), flush=True)
            return
        limit = f"<= {most}" if most is not None else f">= {least}" if least is not None else ""
        beside = f"{ratio:.2f} x {peer}" if peer else ""
        print(f"{'' if kept else 'MISSED '}{self.bench} {metric} {value:.4g} {unit}  {beside} {limit}".rstrip(), flush=True)

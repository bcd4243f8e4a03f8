"""Count referrals by grade from triage's facts: python read_facts.py GROUP. Nothing in it is personal."""

import json
import sqlite3
import sys
from contextlib import closing

from hub_kafka import read

GRADED = {"RiskGraded.v1", "Regraded.v1"}
GRADES = {"standard", "medium", "high"}
TABLE = "CREATE TABLE IF NOT EXISTS grades (stream TEXT PRIMARY KEY, sequence INTEGER, grade TEXT)"
NEWEST = """INSERT INTO grades VALUES (?, ?, ?) ON CONFLICT (stream)
            DO UPDATE SET sequence = excluded.sequence, grade = excluded.grade
            WHERE excluded.sequence > grades.sequence"""


def main(group: str) -> None:
    """Keep the newest grade of each assessment, and print the count whenever it changes."""
    with closing(sqlite3.connect("grades.db")) as grades:
        grades.execute(TABLE)
        for headers, value in read("hub.triage.facts.v1", group):
            if headers["ce_type"] not in GRADED:
                continue  # another fact, or a version that is newer than this program
            grade = json.loads(value)["open"]["risk_grade"]
            known = grade if grade in GRADES else "a word this program does not know"
            with grades:
                changed = grades.execute(NEWEST, (headers["ce_subject"], int(headers["ce_sequence"]), known))
            if changed.rowcount:
                counts = grades.execute("SELECT grade, count(*) FROM grades GROUP BY grade ORDER BY grade")
                print(dict(counts.fetchall()), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])

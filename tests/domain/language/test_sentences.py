"""Where sentences end, in the cases that are hard to tell; a bar stands between two sentences."""

import pytest

from threadjuice_dagster.domain.language.text import sentences

HARD = """
We moved in on Sept. 3 and the roof leaked by Oct. 10.|It never stopped.
The lease ran from Jan. to Aug. of that year.|Nobody read it.
Rev. Ames buried him.|It rained.
She wrote to Sen. Collins and to Gov. Mills.|Neither answered.
Capt. Reyes and Lt. Ortiz signed it.|I kept a copy.
Prof. Lindqvist and Dr. Osei disagreed.|We left.
It opens at 7 a.m. and closes at 5 p.m.|He was there at six.
We met at 8 p.m. Friday at the depot.|She was late.
He lives in Washington D.C. with two cats.|I visited once.
I was born in the U.S. and raised abroad.|My accent gives it away.
My parents left the U.S.|They never went back.
The U.S. Postal Service lost it.|Twice.
J. R. R. Tolkien was his favourite.|Mine too.
John F. Kennedy waved.|My gran waved back.
It cost $3.50 at most.|He charged me $35.
See fig. 3 for the wiring.|It is wrong.
Acme Corp. sued us in March.|We settled.
He works for Smith & Sons Inc. in Leeds.|It pays badly.
We waited... and waited.|Then it rang.
I thought about it...|Then I said no.
“Is it yours?” she asked.|I nodded.
“It is mine,” he said.|“Take it.”|So I took it.
He said “No.”|Then he left.
(He did not mean it.)|I knew that.
Why did she do it?|I never asked!|Nobody did.
The flat is at No. 7 on St. James St. near the park.|It is cold.
It took approx. 20 minutes.|We timed it.
She has a Ph.D. in botany.|She kills every plant.
They sell screws, nails, etc. in the back.|Ask for Tom.
my landlord said no.|so i called again.|he hung up
So did I.|Then we both left.
Everyone said no.|Five of them meant it.
东京很大。|我喜欢。
"""


@pytest.mark.parametrize("case", HARD.strip().splitlines())
def test_sentences_end_where_a_reader_would_say(case: str) -> None:
    parts = case.split("|")
    assert sentences("".join(parts) if "。" in case else " ".join(parts)) == parts


def test_a_paragraph_break_ends_a_sentence() -> None:
    assert sentences("A heading\n\nand what\nfollows it") == ["A heading", "and what follows it"]

"""The judge's scale: every dimension it scores, with what 1 to 5 mean. Nothing else belongs here."""

JUDGE_VERSION = "judge-2"
"""Changes whenever the scale, its anchors or the way samples are combined change."""

ANCHORS: dict[str, str] = {
    "hook": "headline and first sentences. 1: generic or misleading; 2: names the topic only; 3: says what happened; "
    "4: a concrete detail makes one read on; 5: precise, surprising, and true to the source",
    "clarity": "1: cannot be followed; 2: who did what has to be guessed; 3: understood with effort; "
    "4: understood at first reading; 5: effortless, every sentence earns its place",
    "structure": "1: a heap of remarks; 2: order without purpose; 3: beginning, middle and end; "
    "4: each part leads to the next and the discussion has a place; 5: builds to a turn and lands its ending",
    "specificity": "1: platitudes; 2: mostly general; 3: some details of this thread; "
    "4: details, figures and voices of this thread throughout; 5: could have been written of no other thread",
    "voice": "1: no voice, or filler of a machine; 2: flat or uneven; 3: neutral and correct; "
    "4: a person is recognisably telling this; 5: distinct, consistent, and fair to the people in it",
    "faithfulness": "1: contradicts or invents the main facts; 2: an invented fact or quote that matters; "
    "3: minor facts not in the thread; 4: everything is in the thread; 5: also its doubts and disagreements are kept",
}
"""Each dimension with what its scores from 1 to 5 mean."""

"""English text without any judgement: sentences, words, numbers and quotations."""

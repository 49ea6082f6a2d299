"""Environment: every setting and every outside system is checked, and each answer is explained."""

"""Whether a story may be published: claims, rubric, judge, moderation, originality, and the gates over them."""

"""Stories, threads and the public record: the models that every other room works on."""

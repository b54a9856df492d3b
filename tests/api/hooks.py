"""Checks of the API beside Schemathesis's own."""

import schemathesis

# What a schema of single parameters cannot say: that of two one has to be before the other, that some are of the present
# only, and that a cursor is one of an answer.
BETWEEN_PARAMETERS = ("since, until: ", "cursor: ")
ONLY_NOW = "leave it out, or since and until"


@schemathesis.check
def what_the_schema_allows_is_answered(ctx, response, case):
    """In the place of positive_data_acceptance, which takes every 400 to what each parameter allows for a failure."""
    if case.meta is None or not case.meta.generation.mode.is_positive or response.status_code != 400:
        return
    detail = response.json()["detail"]
    if not detail.startswith(BETWEEN_PARAMETERS) and not detail.endswith(ONLY_NOW):
        raise AssertionError(f"what the schema allows is refused: {detail}")

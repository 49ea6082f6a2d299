"""The base of every model of the domain: frozen, and built when it is first used rather than when it is loaded."""

from pydantic import BaseModel, ConfigDict


class Model(BaseModel):
    """A frozen record. Validators of some forty models cost a tenth of a second, which most processes never need."""

    model_config = ConfigDict(frozen=True, defer_build=True)

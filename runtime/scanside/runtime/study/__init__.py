"""A study in, a result out: the main job. `read` → `checks` → `pipeline` → `write`; `report` and `summary` tell it."""

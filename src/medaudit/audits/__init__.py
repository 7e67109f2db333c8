"""One module per audit: `freeze` fits on calibration, `audit` scores test and gives `Findings`.

Audits read prediction tables and know neither images nor models. A stage of the same name calls
them; `slicing` holds how slices are cut, `drift` belongs to `medaudit validate`.
"""

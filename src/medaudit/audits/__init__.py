"""One module per audit: `freeze` fits what is fitted, `audit` scores test and gives `Findings`.

Audits read prediction tables and know neither images nor models. A stage calls each (`slice` calls
`slices`); `slicing` holds how slices are cut, `drift` belongs to `medaudit validate`.
"""

"""What every room stands on: parameters, errors, files, layout, arrays, content keys, findings."""

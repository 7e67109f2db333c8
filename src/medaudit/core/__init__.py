"""What every room stands on: parameters, errors, files, layout, arrays, schema, keys."""

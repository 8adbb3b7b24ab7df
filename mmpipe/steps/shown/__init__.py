"""What a store holds, made visible: values, signals, coverage, drift, twins and refused files, for pages and cards."""

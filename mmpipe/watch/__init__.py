"""Who hears of the stages of a night, and how: log lines, spans, lineage events, metrics. It decides nothing."""

"""Is a result on a real panel safe? Its estimator on twins of the panel, and what it would take to overturn it."""

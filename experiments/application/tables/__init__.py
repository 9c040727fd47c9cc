"""The paper's tables on a real panel: each module adds the columns of its table to a ledger."""

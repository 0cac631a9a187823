"""Results for people: statistics, tables, plots and the HTML report."""

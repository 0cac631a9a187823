(method, timestep, steps, sentence, seed) => {
  const query = new URLSearchParams(location.search);
  const values = { method, timestep, steps: Math.min(steps, timestep), sentence, seed };
  if (!timestep) { delete values.timestep; delete values.steps; query.delete("timestep"); query.delete("steps"); }
  if (!sentence) { delete values.sentence; delete values.seed; query.delete("sentence"); query.delete("seed"); }
  for (const [name, value] of Object.entries(values)) query.set(name, value);
  history.replaceState(null, "", `${location.pathname}?${query}`);
}

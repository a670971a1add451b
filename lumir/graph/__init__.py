"""Step 2, graph: passes over the `lumir` dialect, before anything is grouped into dispatches."""

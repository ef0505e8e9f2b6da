//! The names of modules that have several parts.

/// The module that all of `paths` are in: `attention.self` for its `query`, `key` and `value`. Empty where they begin with nothing in common.
pub fn around<'p>(paths: &[&'p str]) -> &'p str {
    let mut around = paths.first().copied().unwrap_or_default();
    loop {
        around = around.rsplit_once('.').map_or("", |(before, _)| before);
        let holds = |path: &&str| path.strip_prefix(around).is_some_and(|rest| rest.starts_with('.'));
        if around.is_empty() || paths.iter().all(holds) {
            return around;
        }
    }
}

/// One name for all of `paths`, which are computed as one: `attention.self.{query,key,value}`.
pub fn together(paths: &[&str]) -> String {
    if let [one] = paths {
        return (*one).into();
    }
    let around = around(paths);
    let within = |path: &&str| path[around.len()..].trim_start_matches('.').to_owned();
    let parts = paths.iter().map(within).collect::<Vec<_>>().join(",");
    if around.is_empty() { format!("{{{parts}}}") } else { format!("{around}.{{{parts}}}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_computed_as_one_has_one_name() {
        for (paths, in_common, name) in [
            (&["attn.c_attn"][..], "attn", "attn.c_attn"),
            (&["a.self.query", "a.self.key"], "a.self", "a.self.{query,key}"),
            (&["a.q.proj", "a.key.proj"], "a", "a.{q.proj,key.proj}"),
            (&["ab.q", "a.k"], "", "{ab.q,a.k}"),
            (&["wte", "wpe"], "", "{wte,wpe}"),
            (&["wte"], "", "wte"),
        ] {
            assert_eq!(around(paths), in_common);
            assert_eq!(together(paths), name);
        }
    }
}

//! What a template makes, kept within bounds.
//!
//! minijinja 3.1 counts the slots of a new list as fuel, but joins lists lazily, for nothing, and lets one hold another twice, or a namespace
//! itself: what doubles in a loop, or is nested in one, soon takes longer to walk, or a deeper stack, than there is. So a filter measures
//! every list, mapping and sum of a template, and whatever it stores.

use minijinja::machinery;
use minijinja::machinery::ast::{BinOpKind, Call, CallArg, Expr, Stmt};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::ValueKind;
use minijinja::{Error, ErrorKind, State, Value};

/// What a list may hold, each item of its items counted as often as it comes, and so many bytes of text as one more: 256 MiB.
const ITEMS: usize = 1 << 18;
const BYTES: usize = 1 << 10;
/// How deep lists may be nested.
const DEPTH: usize = 100;
/// So many items are looked at for one unit of fuel.
const ITEMS_FOR_FUEL: usize = 32;
/// The filter's name in templates.
pub const FILTER: &str = "__bounded";
/// How it is called for what a list is made of or a variable holds, and for what a namespace holds.
const CALLS: [&str; 2] = [")|__bounded)", ")|__bounded(true))"];

/// The template with the filter behind every list, mapping and sum, and behind all that is stored.
///
/// # Errors
/// minijinja's for what is no template.
pub fn with_bounds(template: &str, name: &str, syntax: SyntaxConfig) -> Result<String, Error> {
    let mut finder = Finder { template, edits: Vec::new() };
    finder.statements(&[machinery::parse(template, name, syntax)?]);
    finder.edits.sort_by_key(|&(place, _)| place);
    let mut bounded = String::with_capacity(2 * template.len());
    let mut done = 0;
    for (place, text) in finder.edits {
        bounded.push_str(template.get(done..place).unwrap_or_default());
        bounded.push_str(text);
        done = place;
    }
    bounded.push_str(template.get(done..).unwrap_or_default());
    Ok(bounded)
}

/// Finds in a syntax tree what is to be measured.
struct Finder<'t> {
    template: &'t str,
    /// What is to be written into the template, and where. Of what ends together, the inner comes first.
    edits: Vec<(usize, &'static str)>,
}

impl Finder<'_> {
    fn statements(&mut self, all: &[Stmt]) {
        for one in all {
            match one {
                Stmt::Template(template) => self.statements(&template.children),
                Stmt::EmitExpr(emit) => self.expression(&emit.expr),
                Stmt::ForLoop(for_loop) => {
                    self.expressions([&for_loop.iter].into_iter().chain(&for_loop.filter_expr));
                    self.statements(&for_loop.body);
                    self.statements(&for_loop.else_body);
                }
                Stmt::IfCond(condition) => {
                    self.expression(&condition.expr);
                    self.statements(&condition.true_body);
                    self.statements(&condition.false_body);
                }
                Stmt::WithBlock(with) => {
                    self.expressions(with.assignments.iter().map(|(_, value)| value));
                    self.statements(&with.body);
                }
                Stmt::Set(set) => {
                    self.parts(&set.expr);
                    let call = CALLS[usize::from(matches!(set.target, Expr::GetAttr(_)))];
                    // What is stored stands behind the sign.
                    let target = set.target.span().end_offset as usize;
                    let sign = self.template.get(target..).and_then(|rest| rest.find('='));
                    if let Some(sign) = sign {
                        self.measured(target + sign + 1, set.span().end_offset as usize, call);
                    }
                }
                Stmt::SetBlock(set) => {
                    self.expressions(&set.filter);
                    self.statements(&set.body);
                }
                Stmt::AutoEscape(block) => {
                    self.expression(&block.enabled);
                    self.statements(&block.body);
                }
                Stmt::FilterBlock(block) => {
                    self.expression(&block.filter);
                    self.statements(&block.body);
                }
                Stmt::Macro(made) => {
                    self.expressions(&made.defaults);
                    self.statements(&made.body);
                }
                Stmt::CallBlock(block) => {
                    self.call(&block.call);
                    self.expressions(&block.macro_decl.defaults);
                    self.statements(&block.macro_decl.body);
                }
                Stmt::Do(done) => self.call(&done.call),
                Stmt::EmitRaw(_) | Stmt::Continue(_) | Stmt::Break(_) => {}
            }
        }
    }

    fn expressions<'e>(&mut self, all: impl IntoIterator<Item = &'e Expr<'e>>) {
        all.into_iter().for_each(|one| self.expression(one));
    }

    fn expression(&mut self, one: &Expr) {
        self.parts(one);
        // Constants are made once, and as large as they are written.
        let is_made = match one {
            Expr::List(list) => list.as_const().is_none(),
            Expr::Tuple(tuple) => tuple.as_const().is_none(),
            Expr::Map(map) => map.as_const().is_none(),
            Expr::BinOp(operation) => matches!(operation.op, BinOpKind::Add | BinOpKind::Mul),
            _ => false,
        };
        if is_made {
            self.measured(one.span().start_offset as usize, one.span().end_offset as usize, CALLS[0]);
        }
    }

    fn parts(&mut self, one: &Expr) {
        match one {
            Expr::Var(_) | Expr::Const(_) => {}
            Expr::Slice(slice) => {
                let bounds = slice.start.iter().chain(&slice.stop).chain(&slice.step);
                self.expressions([&slice.expr].into_iter().chain(bounds));
            }
            Expr::UnaryOp(operation) => self.expression(&operation.expr),
            Expr::BinOp(operation) => self.expressions([&operation.left, &operation.right]),
            Expr::Compare(compared) => {
                self.expression(&compared.expr);
                self.expressions(compared.ops.iter().map(|operation| &operation.expr));
            }
            Expr::IfExpr(choice) => {
                let ways = [&choice.test_expr, &choice.true_expr];
                self.expressions(ways.into_iter().chain(&choice.false_expr));
            }
            Expr::Filter(filter) => {
                self.expressions(&filter.expr);
                self.arguments(&filter.args);
            }
            Expr::Test(test) => {
                self.expression(&test.expr);
                self.arguments(&test.args);
            }
            Expr::GetAttr(access) => self.expression(&access.expr),
            Expr::GetItem(access) => self.expressions([&access.expr, &access.subscript_expr]),
            Expr::Call(call) => self.call(call),
            Expr::List(list) => self.expressions(&list.items),
            Expr::Tuple(tuple) => self.expressions(&tuple.items),
            Expr::Map(map) => self.expressions(map.keys.iter().chain(&map.values)),
        }
    }

    fn call(&mut self, call: &Call) {
        self.expression(&call.expr);
        self.arguments(&call.args);
    }

    fn arguments(&mut self, all: &[CallArg]) {
        for one in all {
            match one {
                CallArg::Pos(value)
                | CallArg::Kwarg(_, value)
                | CallArg::PosSplat(value)
                | CallArg::KwargSplat(value) => self.expression(value),
            }
        }
    }

    fn measured(&mut self, start: usize, end: usize, call: &'static str) {
        self.edits.extend([(start, "(("), (end, call)]);
    }
}

/// The filter: the value itself.
///
/// # Errors
/// `OutOfFuel`, or `InvalidOperation` for a value that holds too much, or, where a namespace shall hold it, another one: they might hold
/// each other.
pub fn bounded(state: &State, value: Value, in_namespace: Option<bool>) -> Result<Value, Error> {
    let mut measure = Measure { left: ITEMS, in_namespace: in_namespace.unwrap_or(false) };
    measure.take(&value, DEPTH)?;
    state.consume_fuel(((ITEMS - measure.left) / ITEMS_FOR_FUEL) as u64)?;
    Ok(value)
}

struct Measure {
    left: usize,
    in_namespace: bool,
}

impl Measure {
    fn take(&mut self, value: &Value, depth: usize) -> Result<(), Error> {
        let refused = |what: String| Err(Error::new(ErrorKind::InvalidOperation, what));
        let is_map = value.kind() == ValueKind::Map;
        if !is_map && !matches!(value.kind(), ValueKind::Seq | ValueKind::Iterable) {
            return Ok(());
        }
        if self.in_namespace
            && value.as_object().is_some_and(|object| object.type_name().ends_with("::Namespace"))
        {
            return refused("a namespace cannot hold a namespace".into());
        }
        if depth == 0 {
            return refused(format!("lists may be nested {DEPTH} deep"));
        }
        for item in value.try_iter()? {
            let item = if is_map { value.get_item(&item)? } else { item };
            let weight = 1 + item.as_str().map_or(0, |text| text.len() / BYTES);
            let Some(left) = self.left.checked_sub(weight) else {
                return refused(format!(
                    "a list may hold {ITEMS} items, those of its lists and every {BYTES} bytes of text included"
                ));
            };
            self.left = left;
            self.take(&item, depth - 1)?;
        }
        Ok(())
    }
}

//! Checks prices and budgets.

use std::sync::Arc;

use voxgate_policy::money::budget::{Budget, Scope};
use voxgate_policy::money::price::PriceBook;
use voxgate_protocol::money::NanoDollars;

use super::bundle::ReadFile;
use super::written::{self, Written};
use crate::money::{MoneyConfig, Pricing, UnknownPrice};

/// Everything about money, or nothing if there is a problem.
pub(super) fn check(
    written: &Written,
    read: ReadFile<'_>,
    problems: &mut Vec<String>,
) -> Option<MoneyConfig> {
    let money = &written.money;
    let book = match book(money, read) {
        Ok(book) => Some(book),
        Err(problem) => {
            problems.push(problem);
            None
        }
    };
    for provider in money.vendors.keys().filter(|name| !written.providers.contains_key(*name)) {
        problems.push(format!("money.vendors names the provider {provider:?}, which is not among providers"));
    }
    let kinds = written.providers.iter().map(|(name, provider)| {
        let vendor = match provider {
            written::Provider::Local { .. } => "local",
            written::Provider::OpenaiRealtime { .. } => "openai",
        };
        (name.clone(), money.vendors.get(name).cloned().unwrap_or_else(|| vendor.to_owned()))
    });
    let vendors = kinds.collect();
    let lease = dollars("money.lease", Some(&money.lease), problems);
    let budgets =
        money.budgets.iter().enumerate().filter_map(|(index, budget)| check_budget(index, budget, problems));
    let budgets = budgets.collect();
    let unknown_price = match money.unknown_price {
        written::UnknownPrice::Refuse => UnknownPrice::Refuse,
        written::UnknownPrice::Flag => UnknownPrice::Flag,
    };
    let pricing = Pricing { book: book?, unknown_price, vendors, lease: lease? };
    Some(MoneyConfig { pricing: Arc::new(pricing), budgets })
}

fn book(money: &written::Money, read: ReadFile<'_>) -> Result<PriceBook, String> {
    let Some(path) = &money.prices else { return PriceBook::built_in().map_err(|error| error.to_string()) };
    let text = read(path).map_err(|reason| format!("money.prices: {} {reason}", path.display()))?;
    PriceBook::overridden(&text).map_err(|error| format!("money.prices: {error}"))
}

fn check_budget(index: usize, budget: &written::Budget, problems: &mut Vec<String>) -> Option<Budget> {
    let name = format!("money.budgets[{index}]");
    let scope = Scope {
        organisation: budget.organisation.clone(),
        team: budget.team.clone(),
        key: budget.key.clone(),
        agent: budget.agent.clone(),
    };
    if !scope.is_a_place() {
        problems.push(format!("{name} names a key without its team, or an agent without its key"));
    }
    let soft = dollars(&format!("{name}.soft"), budget.soft.as_deref(), problems);
    let hard = dollars(&format!("{name}.hard"), budget.hard.as_deref(), problems);
    if budget.soft.is_none() && budget.hard.is_none() {
        problems.push(format!("{name} has neither soft nor hard"));
    }
    if let (Some(soft), Some(hard)) = (soft, hard)
        && soft > hard
    {
        problems.push(format!("{name}.soft is above its hard limit"));
    }
    Some(Budget { scope, window: budget.window, soft, hard })
}

fn dollars(name: &str, text: Option<&str>, problems: &mut Vec<String>) -> Option<NanoDollars> {
    match NanoDollars::from_dollars(text?) {
        Ok(amount) if !amount.is_spent() => Some(amount),
        Ok(_) => {
            problems.push(format!("{name} must be above zero"));
            None
        }
        Err(error) => {
            problems.push(format!("{name}: {error}"));
            None
        }
    }
}

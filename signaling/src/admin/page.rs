//! Long lists, a piece at a time.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::reply::AdminError;

/// Most items of a page.
const MOST: u32 = 200;

/// Items of a page where nobody says how many.
pub(super) const USUAL: u32 = 50;

/// Longest cursor: three names of 64 characters and what is between them.
pub(super) const LONGEST_CURSOR: usize = 200;

/// Which piece of a list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct PageQuery {
    /// How many items at most.
    #[param(minimum = 1, maximum = 200, default = 50, nullable = false)]
    pub(super) limit: Option<u32>,
    /// `next` of the page before. Default: the first page.
    #[param(max_length = 200, pattern = "^[A-Za-z0-9._~/-]*$", nullable = false)]
    pub(super) after: Option<String>,
}

impl PageQuery {
    /// How many items, and behind what.
    pub(super) fn read(self) -> Result<Piece, AdminError> {
        let limit = self.limit.unwrap_or(USUAL);
        if !(1..=MOST).contains(&limit) {
            let message = format!("'limit' is from 1 to {MOST}.");
            return Err(AdminError::invalid(message).with_param("limit"));
        }
        let after = self.after.unwrap_or_default();
        if after.len() > LONGEST_CURSOR || !is_cursor(&after) {
            return Err(AdminError::invalid("'after' is the 'next' of another page.").with_param("after"));
        }
        Ok(Piece { limit, after })
    }
}

/// Whether a text has the letters of a cursor only.
pub(super) fn is_cursor(text: &str) -> bool {
    let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'~' | b'/' | b'-');
    text.bytes().all(is_fit)
}

/// Which piece of a list whose cursors are numbers.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct NumberedQuery {
    /// How many items at most.
    #[param(minimum = 1, maximum = 200, default = 50, nullable = false)]
    limit: Option<u32>,
    /// `next` of the page before. Default: the first page.
    #[param(pattern = "^[0-9]{1,9}$", nullable = false)]
    after: Option<String>,
}

impl NumberedQuery {
    /// How many items, and behind which number.
    pub(super) fn read(self) -> Result<(Piece, Option<u32>), AdminError> {
        let after = self.after.as_deref().map(number).transpose()?;
        let piece = PageQuery { limit: self.limit, after: None }.read()?;
        Ok((piece, after))
    }
}

/// A cursor that is a number of up to nine digits.
pub(super) fn number(after: &str) -> Result<u32, AdminError> {
    let is_number = (1..=9).contains(&after.len()) && after.bytes().all(|byte| byte.is_ascii_digit());
    let read = if is_number { after.parse().ok() } else { None };
    read.ok_or_else(|| AdminError::invalid("'after' is the 'next' of another page.").with_param("after"))
}

/// A piece of a list.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) limit: u32,
    pub(super) after: String,
}

impl Piece {
    /// One more than fits, to see whether there is another page.
    pub(super) const fn look_ahead(&self) -> u32 {
        self.limit + 1
    }

    /// The page of a whole list whose items have no names: the cursor is a number.
    pub(super) fn numbered<T>(&self, items: impl Iterator<Item = T>) -> Page<T> {
        // A cursor nobody gave out begins at the beginning.
        let skip: usize = self.after.parse().unwrap_or(0);
        let found: Vec<T> = items.skip(skip).take(self.look_ahead() as usize).collect();
        self.cut(found, |_| (skip + self.limit as usize).to_string())
    }

    /// The page of what was found by looking ahead.
    pub(super) fn cut<T>(&self, mut items: Vec<T>, cursor: impl Fn(&T) -> String) -> Page<T> {
        let goes_on = items.len() > self.limit as usize;
        items.truncate(self.limit as usize);
        let next = items.last().filter(|_| goes_on).map(cursor);
        Page { items, next }
    }
}

/// A piece of a list.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Page<T> {
    /// In their order.
    pub(super) items: Vec<T>,
    /// Give it back as `after` for the next page; null on the last one.
    pub(super) next: Option<String>,
}

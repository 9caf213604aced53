//! A list of what there is usually one of, and thousands of such lists: the one lies in the list itself, with no
//! allocation, and no pointer to follow, of its own. A slice in everything else; it never grows.
//!
//! Not `smallvec`: `SmallVec<[T; 1]>` keeps a capacity beside what it holds, because it grows, and so is never smaller than
//! 24 bytes. A `Few` is as large as its one where that has a niche: 16 bytes for a credential. A cached caller has two.

use std::{ops::Deref, slice};

/// A list that is usually one.
#[derive(Debug, Clone)]
pub enum Few<T> {
    /// One.
    One(T),
    /// None, or several; behind a thin pointer, which finds room where a `T` of pointers has some.
    #[expect(clippy::box_collection, reason = "a slice's pointer is twice the size")]
    Others(Box<Vec<T>>),
}

impl<T> Deref for Few<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        match self {
            Self::One(one) => slice::from_ref(one),
            Self::Others(others) => others,
        }
    }
}

impl<T> From<Vec<T>> for Few<T> {
    fn from(mut all: Vec<T>) -> Self {
        match (all.pop(), all.is_empty()) {
            (Some(one), true) => Self::One(one),
            (last, _) => {
                all.extend(last);
                all.shrink_to_fit();
                Self::Others(Box::new(all))
            }
        }
    }
}

impl<T> FromIterator<T> for Few<T> {
    fn from_iter<I: IntoIterator<Item = T>>(all: I) -> Self {
        all.into_iter().collect::<Vec<T>>().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_pointers_is_no_larger_than_its_one() {
        type Two = (Box<u8>, Box<u8>);
        assert_eq!(size_of::<Few<Two>>(), size_of::<Two>());
    }

    #[test]
    fn one_lies_in_the_list_itself_and_the_order_of_others_stays() {
        assert!(matches!(Few::from(vec![7]), Few::One(7)));
        for all in [vec![], vec![1, 2], vec![3, 1, 2]] {
            let few = Few::from(all.clone());
            assert!(matches!(few, Few::Others(_)));
            assert_eq!(*few, *all);
        }
        assert_eq!(*(1..4).collect::<Few<i32>>(), [1, 2, 3]);
    }
}

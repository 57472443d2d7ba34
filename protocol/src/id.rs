//! Newtypes for numbers that must not be confused with each other.

/// Defines a newtype of a number that prints and serializes as the number. A newtype of `u32` has `index()`, the number
/// as an index into a vector with one element per id. The crate that uses the macro needs `serde`.
#[macro_export]
macro_rules! id {
    ($(#[$doc:meta])* $name:ident(u32)) => {
        $crate::id!(@newtype $(#[$doc])* $name(u32));

        impl $name {
            /// The id as an index into a vector with one element for each id.
            pub fn index(self) -> usize {
                self.0 as usize
            }
        }
    };
    ($(#[$doc:meta])* $name:ident(u64)) => {
        $crate::id!(@newtype $(#[$doc])* $name(u64));
    };
    (@newtype $(#[$doc:meta])* $name:ident($number:ty)) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, ::serde::Serialize, ::serde::Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $number);

        impl ::std::fmt::Display for $name {
            fn fmt(&self, formatter: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                self.0.fmt(formatter)
            }
        }
    };
}

id!(
    /// One batch; unique within a run, never reused. 0 means no batch.
    #[derive(Default)]
    BatchId(u64)
);
id!(
    /// A stage of the plan.
    StageId(u32)
);
id!(
    /// A node of the topology: its index in the list of nodes.
    NodeId(u32)
);
id!(
    /// One request for a snapshot; unique within a connection.
    RequestId(u64)
);

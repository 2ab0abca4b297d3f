//! mailcow-operator: declarative email hosting on Mailcow.

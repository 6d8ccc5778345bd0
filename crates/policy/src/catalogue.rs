//! Vendors and prices, from the two dated data files beside this code.

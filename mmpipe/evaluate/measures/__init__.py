"""What a goal is measured by, each measure as a function of the weights that its clips are given.

With all weights 1 it is the number that scikit-learn gives; with the weights of a resample it is one draw of its
interval. So no measure has two implementations, and every one has an interval clustered by group.
Axes: C candidates, D draws, K classes, N clips, Q queries.
"""

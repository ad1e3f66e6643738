"""Numbers in, numbers out: sufficient statistics, estimates and verdicts that stay valid however often one looks.

Nothing here knows a model, a clock or a database. The flow of the package is the order of its modules::

    moments, histogram       what is stored about each arm: counts and sums that merge by addition
    estimators               one metric of one arm: its value and the variance of one unit
    confidence_sequences     boundaries that hold at every sample size at once
    stratified               two arms over the phases of a ramp, standardised to the same mix of phases
    comparison               two arms, one metric: interval, p-value, verdict and the sentence that explains it
    running                  what all looks so far say together
"""

"""Lottery tickets in JAX: find sparse trainable subnetworks and move them to other data.

    found = list(ltjax.find(network, source, recipe, key=key, plan=plan))
    ltjax.save(found[8].ticket(), path)
    records = list(ltjax.transfer([found[0], found[8]], network, target, recipe, key=key))

The modules are the names of everything else: `masks.apply`, `pruning.plan`, `models.make`.
"""

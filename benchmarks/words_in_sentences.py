"""Words in sentences and, checked by hand, the kinds of thing that each is there: what `bench_names.py` asks of names.

A line: the sentence, with the word in brackets; the kinds of ``data/words/write.py`` that are right here; after a bar the
kinds of the word's other sense, where it has one. No sentence is in the corpus. `CHOOSE` is for choosing, `REPORT` for figures.
"""

REPORT = """
After a long swim they dried themselves on the [bank] of the river | waters, land | money
She opened an account at the [bank] and asked for a loan | money | waters, land
At dusk a [bat] flew out of the cave and hunted moths | wild animals, birds, insects | play and contest, sports
He swung the [bat] and hit the ball into the crowd | play and contest, sports | wild animals, birds, insects
A [crane] lifted the steel beams to the top floor | machines, vehicles, tools, buildings | birds, wild animals
The [crane] stood on one leg in shallow water and caught a fish | birds, wild animals, fish and sea life | machines, vehicles, tools
The cat chased a [mouse] under the sofa | wild animals, farm animals and pets | machines
Move the [mouse] and click on the icon | machines | wild animals, farm animals and pets
He held the coin in the [palm] of his hand | body, organs | plants
They rested under a tall [palm] on the beach | plants | body, organs
The [bark] of the old birch was white and peeled off | plants | farm animals and pets
The [pupil] read the poem aloud to the class | school, professions, family | body
In bright light the [pupil] of the eye becomes smaller | body, organs | school
The liver is the largest [organ] inside the body | organs, body | instruments
At the wedding someone played a hymn on the [organ] | instruments, music and arts | organs, body
The walls were painted [orange] and the door white | colours | fruit, vegetables
He peeled an [orange] and shared it with his sister | fruit, vegetables, food | colours
He filled the [glass] with cold beer | kitchen things, drinks | materials
The window was made of thick [glass] | materials | kitchen things, drinks
The [star] of the film gave an interview | professions, music and arts | science
The brightest [star] in the sky is far from the Earth | science | professions, music and arts
The prisoner spent the night in a [cell] with barred windows | crime, rooms and parts of a house, buildings | science
Every [cell] of a leaf holds the same genes | science, organs, plants | crime, buildings
The company closed the [plant] and fired the workers | buildings, money | plants
Water the [plant] on the window sill twice a week | plants | buildings, money
The early [spring] brought the first tulips | seasons, weather, months | waters
The [court] sentenced the man to ten years in prison | crime, government | sports, play and contest
The climber held on to a sharp [rock] | land, materials |
The [match] ended without a goal | play and contest, sports |
The [seal] slid off the ice and dived for fish | fish and sea life, wild animals, birds |
An [otter] swam across the stream with a trout in its teeth | wild animals, fish and sea life, farm animals and pets, birds |
They lit candles in the [cathedral] on Christmas Eve | buildings, religion |
We took the night train to [Prague] | cities, countries |
She was born in [Norway] and grew up on a farm | countries, cities, continents |
He added a [blueberry] to the porridge | fruit, food, vegetables |
The child sat down on a small [stool] | furniture |
The jazz band played with drums and a [saxophone] | instruments |
She learned [Korean] from her neighbours | languages |
The handle of the door was made of [brass] | materials |
The [blizzard] closed the roads for two days | weather |
The farmer drove the [tractor] across the field | vehicles, machines |
He looked at her with [envy] and turned away | feelings as things |
The house on the hill is [enormous] | size and speed, worth |
Don't [shove] him into the water | handwork, movement |
They want to [purchase] a piece of land | trade |
He bought [twelve] eggs and a loaf of bread | numbers |
Her lips were painted [crimson] | colours |
She broke her [wrist] when she fell off the ladder | body, organs |
The child has [asthma] and cannot run far | illness |
The [librarian] showed us the old maps | professions |
The [duke] owned most of the land around the village | rulers |
They spent the summer in a [cottage] by the sea | buildings, rooms and parts of a house |
The sculptor took a [chisel] and shaped the marble | tools |
An [orchid] stood in a pot on the shelf | plants |
He failed the test in [algebra] | subjects, school |
A [comet] passes the Sun every seventy years | science |
The [burglar] broke the window and took the jewels | crime |
The army fired a [missile] at the ships | war, vehicles |
The dress was made of red [velvet] | materials, clothes |
A [peacock] spread its tail in the park | birds, wild animals, farm animals and pets |
"""

CHOOSE = """
The [jaguar] slept on a branch high above the river | wild animals
They stored the wine in a [barrel] behind the shed | kitchen things, tools, furniture
The [tailor] measured his arms and legs | professions
A [canoe] drifted down the river without a paddle | vehicles
She wore a [cardigan] over her dress | clothes
The soup was full of [celery] and beans | vegetables, food
The [cello] was louder than the flute | instruments
He hid his [disgust] and smiled | feelings as things, feelings
They lived in [Denmark] for three years | countries, cities
We met in [Warsaw] on a rainy day | cities, countries
A [hurricane] destroyed the roofs of the village | weather
The lid of the box is made of [aluminium] | materials
The [falcon] dived and caught a pigeon | birds, wild animals
She bought a [nectarine] at the market | fruit, food, vegetables
The [colonel] ordered the men to wait | war, rulers, professions
The spider has a [fang] on each side | body, wild animals, insects
He tried to [sprint] but was too tired | movement
The walls are [turquoise] like the sea | colours
The children swam in the [lagoon] | waters, land
Put the [pliers] back into the box | tools
"""

FACTS = """
The Eiffel Tower stands in the city of | Paris
The Colosseum stands in the city of | Rome
The Brandenburg Gate stands in the city of | Berlin
The Kremlin stands in the city of | Moscow
Big Ben stands in the city of | London
The Acropolis stands in the city of | Athens
The pyramids of Giza were built in | Egypt
The Taj Mahal was built in | India
Mount Fuji is the highest mountain of | Japan
The language of Mexico is | Spanish
The language of Austria is | German
The language of Brazil's neighbour Argentina is | Spanish
The day after Monday is | Tuesday
The month after June is | July
The season after winter is | spring
The number after six is | seven
The opposite of hot is | cold
The opposite of rich is | poor
The opposite of fast is | slow
The colour of blood is | red
The colour of grass is | green
The wife of a king is a | queen
The bees in the garden make sweet | honey
The heart of a man pumps his | blood
"""
"""Beginnings of sentences, and the public fact that their last latent must know for the next word to be right."""
